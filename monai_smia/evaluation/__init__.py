"""Evaluation: cases x attacks, what is planned and what is run."""

from __future__ import annotations

from monai_smia._moved import moved
from monai_smia.evaluation.chosen import chosen_rows
from monai_smia.evaluation.duplicates import find_duplicates
from monai_smia.evaluation.paper_figures import PaperFigures
from monai_smia.evaluation.paper_plan import paper_comparison, tables_plan
from monai_smia.evaluation.pipeline import Pipeline
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.evaluation.presets import preset_plan, standard_attack
from monai_smia.evaluation.runner import AttackEvaluation
from monai_smia.evaluation.universal_plan import universal_rows
from monai_smia.evaluation.volume_rows import volume_rows
from monai_smia.report.paper_tables import write_tables

__all__ = [
    "AttackEvaluation",
    "PaperFigures",
    "Pipeline",
    "PlannedAttack",
    "chosen_rows",
    "find_duplicates",
    "paper_comparison",
    "preset_plan",
    "standard_attack",
    "tables_plan",
    "universal_rows",
    "volume_rows",
    "write_tables",
]
_FIGURES, _STORAGE = "monai_smia.report.figures", "monai_smia.storage"
__getattr__ = moved(
    __name__,
    {
        **dict.fromkeys(("DicomStorage", "NiftiStorage", "PngStorage"), _STORAGE),
        **dict.fromkeys(("detection_figure", "photograph_figure", "segmentation_figure"), _FIGURES),
    },
)
