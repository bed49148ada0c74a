"""Any MONAI bundle under attack: the overlay config and its parts."""

from __future__ import annotations

from monai_smia.adapters.monai_bundle.evaluation import bundle_evaluation
from monai_smia.adapters.monai_bundle.overlay import check_bundle, check_configs, overlay_path

__all__ = ["bundle_evaluation", "check_bundle", "check_configs", "overlay_path"]
