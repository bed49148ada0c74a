"""Inferers: gradients that fit in memory, and victims as inferers."""

from __future__ import annotations

from monai_smia._moved import moved
from monai_smia.inferers.points import point_windows
from monai_smia.inferers.sliding_window import CheckpointedSlidingWindowInferer, restrict_gradient
from monai_smia.inferers.tiling import MeanNetwork, Tiling, TilingInferer
from monai_smia.inferers.victim import VictimInferer

__all__ = [
    "CheckpointedSlidingWindowInferer",
    "MeanNetwork",
    "Tiling",
    "TilingInferer",
    "VictimInferer",
    "point_windows",
    "restrict_gradient",
]
__getattr__ = moved(__name__, {"wanted_within": f"{__name__}.sliding_window:restrict_gradient"})
