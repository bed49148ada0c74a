"""Victims: what is attacked, one class a task."""

from __future__ import annotations

from monai_smia.victims.base import Victim
from monai_smia.victims.choice import Choice
from monai_smia.victims.classification import ClassificationVictim
from monai_smia.victims.degradation import degraded
from monai_smia.victims.detection import DetectionVictim
from monai_smia.victims.regression import RegressionVictim
from monai_smia.victims.segmentation import SegmentationVictim
from monai_smia.victims.structure_loss import StructureLoss
from monai_smia.victims.volume_loss import VolumeLoss

__all__ = [
    "Choice",
    "ClassificationVictim",
    "DetectionVictim",
    "RegressionVictim",
    "SegmentationVictim",
    "StructureLoss",
    "Victim",
    "VolumeLoss",
    "degraded",
]
