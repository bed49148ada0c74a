"""Products that are black boxes: a command as a victim."""

from __future__ import annotations

from monai_smia.adapters.product.asking import Asked, Asking, Product
from monai_smia.adapters.product.command import Command
from monai_smia.adapters.product.errors import AnswerError, QueryLimitError
from monai_smia.adapters.product.evaluation import product_evaluation
from monai_smia.adapters.product.victim import CommandVictim, ProductVictim

__all__ = [
    "AnswerError",
    "Asked",
    "Asking",
    "Command",
    "CommandVictim",
    "Product",
    "ProductVictim",
    "QueryLimitError",
    "product_evaluation",
]
