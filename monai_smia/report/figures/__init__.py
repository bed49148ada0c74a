"""Pictures of single cases under attack, one module a task."""

from __future__ import annotations

from monai_smia.report.figures.detection import detection_figure
from monai_smia.report.figures.landmarks import landmark_figure
from monai_smia.report.figures.panel import Panel
from monai_smia.report.figures.photograph import photograph_figure
from monai_smia.report.figures.segmentation import segmentation_figure

__all__ = ["Panel", "detection_figure", "landmark_figure", "photograph_figure", "segmentation_figure"]
