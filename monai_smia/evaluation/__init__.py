"""Evaluation: cases x attacks, records, summary and report."""

from __future__ import annotations

from monai_smia.evaluation.detection_figure import detection_figure
from monai_smia.evaluation.dicom_storage import DicomStorage
from monai_smia.evaluation.figures import segmentation_figure
from monai_smia.evaluation.paper import tables_plan, write_tables
from monai_smia.evaluation.photograph_figure import photograph_figure
from monai_smia.evaluation.plan import PlannedAttack, paper_comparison
from monai_smia.evaluation.png_storage import PngStorage
from monai_smia.evaluation.runner import AttackEvaluation
from monai_smia.evaluation.storage import NiftiStorage

__all__ = [
    "AttackEvaluation",
    "DicomStorage",
    "NiftiStorage",
    "PlannedAttack",
    "PngStorage",
    "detection_figure",
    "paper_comparison",
    "photograph_figure",
    "segmentation_figure",
    "tables_plan",
    "write_tables",
]
