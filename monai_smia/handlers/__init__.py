"""Ignite handlers."""

from __future__ import annotations

from monai_smia.handlers.attack import AttackHandler
from monai_smia.handlers.clip_gradients import ClipGradients
from monai_smia.handlers.detection import DetectionMetric, SaveBoxes
from monai_smia.handlers.free import FreeAttackHandler

__all__ = ["AttackHandler", "ClipGradients", "DetectionMetric", "FreeAttackHandler", "SaveBoxes"]
