"""Attacks that ask for predictions alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch

from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.result import AttackResult, joined


@dataclass(kw_only=True, eq=False)
class QueryAttack(Attack):
    """A search in an L-inf ball that asks for predictions and takes no gradient, and returns the best it has found.

    Args:
        queries: predictions of a sample, beside that of the clean image.

    The other arguments are those of `Attack`; the norm is ``"linf"``.

    Raises:
        ValueError: if an argument is outside its range.
    """

    needs_gradient: ClassVar[bool] = False

    queries: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_fixed(norm="linf")
        self.require_fixed(keep="best")
        self.queries = self.require_count("queries", 1)

    @property
    def knowledge(self) -> str:
        """Predictions alone."""
        return "black box"

    @property
    def planned_gradients(self) -> int:
        """None."""
        return 0


def one_by_one(search: Callable[[AttackProblem], AttackResult], problem: AttackProblem) -> AttackResult:
    """The results of a search that takes one sample at a time.

    Args:
        search: of a problem with a batch of one.
        problem: with any batch.
    """
    each = torch.eye(len(problem.image), dtype=torch.bool, device=problem.image.device)
    return joined([search(problem if len(each) == 1 else problem.subset(one)) for one in each])
