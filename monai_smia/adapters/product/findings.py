"""Metrics of products that say something of the whole image: decisions, and the number behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from monai_smia.adapters.product.kinds import SUM, Finding
from monai_smia.metrics import ClassificationMetrics
from monai_smia.metrics.base import means

ANSWER, CHANGE = "answer", "answer_change"  # the product's own number, and what an attack has changed of it


class FindingMetrics(ClassificationMetrics):
    """Accuracy of a product's decisions, as `ClassificationMetrics`, and the number that it answers with.

    Beside those, over the cases of a row: ``answer``, mean of the number that the threshold is compared with, and
    ``answer_change``, mean of what the attack has changed of it. Probabilities are those that the product gives for
    each class; there is no calibration error, for a number of its own is none.

    Args:
        num_classes: number of classes.
        finding: how answers are read.

    Raises:
        ValueError: if `num_classes` is below 2, or not that of the finding.
    """

    def __init__(self, num_classes: int, finding: Finding) -> None:
        super().__init__(num_classes, calibration=False)
        finding.check(num_classes)
        self.finding = finding

    def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
        """Truth and decision, and what ranks cases: the number, or the product's probabilities."""
        target, decided = victim.target(label), victim.decide(prediction)
        victim.output.check(prediction, target)
        grade, decision = int(target.flatten()[0]), int(decided.flatten()[0])
        found: dict[str, Any] = {"accuracy": float(grade == decision), "grade": grade, "decided": decision}
        scores = prediction[0].double()
        if self.finding.threshold is not None:
            margin = float(scores[1] - scores[0])
            return {**found, "log_odds": [-margin, margin]}
        probabilities = scores.exp()
        if abs(float(probabilities.sum()) - 1) <= 2 * SUM:
            odds = torch.log(probabilities) - torch.log1p(-probabilities.clamp_max(1 - 1e-16))
            return {**found, "probabilities": probabilities.tolist(), "log_odds": odds.tolist()}
        return found

    def changes(self, values: Mapping[str, Any], clean: Mapping[str, Any]) -> dict[str, float | None]:
        """What an attack has changed of the product's number; nothing where there is none."""
        before, after = clean.get(ANSWER), values.get(ANSWER)
        return {} if before is None or after is None else {CHANGE: float(after) - float(before)}

    def summary(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """The metrics of one row's cases."""
        told = [name for name in (ANSWER, CHANGE) if any(name in record for record in records)]
        return {**super().summary(records), **means(records, told)}
