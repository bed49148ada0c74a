"""Deprecated: the overlay for MONAI bundles lives in `monai_smia.adapters.monai_bundle`."""

from __future__ import annotations

from monai_smia._moved import moved

_HOME = "monai_smia.adapters.monai_bundle"
__getattr__ = moved(__name__, dict.fromkeys(("bundle_evaluation", "check_configs", "overlay_path"), _HOME))
