"""Metrics of predicted numbers: how far they are off, and how many are near enough."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from monai_smia.metrics.base import CaseMetrics


class RegressionMetrics(CaseMetrics):
    """Errors of the numbers or points that a `RegressionVictim` predicts, of those that have a target.

    - ``share_right``: share of values whose error is at most the victim's `within`; of landmarks the success
      detection rate;
    - ``error_mean``: mean error in the unit of the numbers; of landmarks the mean radial error;
    - ``error_max``: the largest.

    Example:
        >>> import torch
        >>> from monai_smia.victims import RegressionVictim
        >>> victim, found = RegressionVictim(torch.nn.Identity(), within=2.0), torch.tensor([[1.0, 3.0]])
        >>> RegressionMetrics().case(victim, found, torch.zeros(1, 2), torch.zeros(1, 1, 4, 4))
        {'share_right': 0.5, 'error_mean': 2.0, 'error_max': 3.0}
    """

    primary = "share_right"
    ranges = {"share_right": (0, 1), "error_mean": (0, float("inf")), "error_max": (0, float("inf"))}
    lower_is_better = frozenset({"error_mean", "error_max"})

    def case(self, victim: Any, prediction: Tensor, label: Tensor, image: Tensor) -> dict[str, Any]:
        """The errors of one case."""
        errors, counted = victim.errors(prediction, label)
        known = errors[counted].double()
        near = float((known <= victim.within).double().mean())
        return self.checked({"share_right": near, "error_mean": float(known.mean()), "error_max": float(known.max())})
