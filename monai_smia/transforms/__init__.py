"""MONAI transforms."""

from __future__ import annotations

from monai_smia.transforms.attack import ApplyAttack, ApplyAttackD, ApplyAttackd, ApplyAttackDict
from monai_smia.transforms.frames import FitFramed, RandFramed, collate_frames

__all__ = [
    "ApplyAttack",
    "ApplyAttackD",
    "ApplyAttackDict",
    "ApplyAttackd",
    "FitFramed",
    "RandFramed",
    "collate_frames",
]
