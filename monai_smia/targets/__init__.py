"""The three reference systems of the SMIA paper: layouts, synthetic data, networks and transforms that they need."""

from __future__ import annotations

from monai_smia.targets.configs import part_of

__all__ = ["part_of"]
