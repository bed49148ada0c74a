"""Products that are black boxes: a command, or a DICOM node, as a victim."""

from __future__ import annotations

from monai_smia.adapters.product.asking import Asked, Asking, Product
from monai_smia.adapters.product.command import Command
from monai_smia.adapters.product.dry_run import dry_run
from monai_smia.adapters.product.errors import AnswerError, QueryLimitError
from monai_smia.adapters.product.evaluation import product_evaluation
from monai_smia.adapters.product.node import DicomNode
from monai_smia.adapters.product.victim import CommandVictim, DicomNodeVictim, ProductVictim

__all__ = [
    "AnswerError",
    "Asked",
    "Asking",
    "Command",
    "CommandVictim",
    "DicomNode",
    "DicomNodeVictim",
    "Product",
    "ProductVictim",
    "QueryLimitError",
    "dry_run",
    "product_evaluation",
]
