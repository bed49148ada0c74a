"""MONAI transforms."""

from __future__ import annotations

from monai_smia._moved import moved
from monai_smia.transforms.attack import ApplyAttack, ApplyAttackD, ApplyAttackd, ApplyAttackDict
from monai_smia.transforms.degradation import (
    ApplyDegradation,
    ApplyDegradationD,
    ApplyDegradationd,
    ApplyDegradationDict,
)
from monai_smia.transforms.photographs import LoadPhotograph, LoadPhotographd

__all__ = [
    "ApplyAttack",
    "ApplyAttackD",
    "ApplyAttackDict",
    "ApplyAttackd",
    "ApplyDegradation",
    "ApplyDegradationD",
    "ApplyDegradationDict",
    "ApplyDegradationd",
    "LoadPhotograph",
    "LoadPhotographd",
]
_ENDOSCOPY, _FUNDUS = "monai_smia.targets.endoscopy", "monai_smia.targets.fundus"
__getattr__ = moved(
    __name__,
    {
        **{f"ApplyHandling{end}": f"{__name__}:ApplyDegradation{end}" for end in ("", "D", "d", "Dict")},
        **dict.fromkeys(("BoxTensorsd", "FitFramed", "RandFramed", "collate_frames"), _ENDOSCOPY),
        **dict.fromkeys(("LocalContrast", "LocalContrastd", "RandPaintLesionsd"), _FUNDUS),
        "RandColord": f"{_FUNDUS}:random_color",
    },
)
