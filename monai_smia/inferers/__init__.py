"""Inferers with gradients that fit in memory."""

from __future__ import annotations

from monai_smia.inferers.sliding_window import CheckpointedSlidingWindowInferer

__all__ = ["CheckpointedSlidingWindowInferer"]
