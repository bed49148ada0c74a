"""MONAI transforms."""

from __future__ import annotations

from monai_smia.transforms.attack import ApplyAttack, ApplyAttackD, ApplyAttackd, ApplyAttackDict

__all__ = ["ApplyAttack", "ApplyAttackD", "ApplyAttackDict", "ApplyAttackd"]
