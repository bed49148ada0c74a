"""Inferers: gradients that fit in memory, and victims as inferers."""

from __future__ import annotations

from monai_smia.inferers.sliding_window import CheckpointedSlidingWindowInferer, wanted_within
from monai_smia.inferers.victim import VictimInferer

__all__ = ["CheckpointedSlidingWindowInferer", "VictimInferer", "wanted_within"]
