"""Products that are black boxes: a command, a DICOM node or what stands behind DICOMweb, as a victim."""

from __future__ import annotations

from monai_smia.adapters.product.asking import Asked, Asking, Product
from monai_smia.adapters.product.command import Command
from monai_smia.adapters.product.dicomweb import DicomWeb
from monai_smia.adapters.product.dry_run import dry_run
from monai_smia.adapters.product.errors import AnswerError, QueryLimitError
from monai_smia.adapters.product.evaluation import product_evaluation
from monai_smia.adapters.product.kinds import Finding, Masks
from monai_smia.adapters.product.node import DicomNode
from monai_smia.adapters.product.victim import CommandVictim, DicomNodeVictim, FindingVictim, ProductVictim

__all__ = [
    "AnswerError",
    "Asked",
    "Asking",
    "Command",
    "CommandVictim",
    "DicomNode",
    "DicomNodeVictim",
    "DicomWeb",
    "Finding",
    "FindingVictim",
    "Masks",
    "Product",
    "ProductVictim",
    "QueryLimitError",
    "dry_run",
    "product_evaluation",
]
