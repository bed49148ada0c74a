"""Deprecated: Gaussian smoothing is one of the degradations, `monai_smia.degradations.smoothing`."""

from __future__ import annotations

from monai_smia._moved import moved

__getattr__ = moved(__name__, dict.fromkeys(("gaussian_taps", "smooth"), "monai_smia.degradations.smoothing"))
