"""MONAI transforms."""

from __future__ import annotations

from monai_smia.transforms.attack import ApplyAttack, ApplyAttackD, ApplyAttackd, ApplyAttackDict
from monai_smia.transforms.frames import BoxTensorsd, FitFramed, RandFramed, collate_frames
from monai_smia.transforms.fundus import RandColord, RandPaintLesionsd
from monai_smia.transforms.handling import ApplyHandling, ApplyHandlingD, ApplyHandlingd, ApplyHandlingDict
from monai_smia.transforms.local_contrast import LocalContrast, LocalContrastd

__all__ = [
    "ApplyAttack",
    "ApplyAttackD",
    "ApplyAttackDict",
    "ApplyAttackd",
    "ApplyHandling",
    "ApplyHandlingD",
    "ApplyHandlingDict",
    "ApplyHandlingd",
    "BoxTensorsd",
    "FitFramed",
    "LocalContrast",
    "LocalContrastd",
    "RandColord",
    "RandFramed",
    "RandPaintLesionsd",
    "collate_frames",
]
