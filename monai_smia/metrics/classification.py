"""Classification metrics: truth, decision and probabilities of a case, and their summary over cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_roc_auc
from scipy.stats import binomtest
from torch import Tensor

from monai_smia.metrics.base import CaseMetrics


class ClassificationMetrics(CaseMetrics):
    """Accuracy, accuracy per class, quadratic weighted kappa, macro AUC and false positive rates.

    Over the cases of a row, None where undefined (a class that does not occur has no accuracy and no AUC):

    - ``accuracy``, with ``accuracy_low`` and ``accuracy_high``, its Wilson interval of 95 %;
    - ``accuracy_0``, ``accuracy_1``, ...: of the cases of this class, the share that is decided right;
    - ``kappa``: quadratic weighted kappa (Cohen, 1968), which ordered classes are judged by;
    - ``auc``: mean over classes of the area under the ROC curve, one class against the rest;
    - ``fpr``: healthy cases (class 0) that are decided diseased (any other class);
    - ``fpr_macro``: mean over classes of the share of other classes' cases that are decided for this one.

    Args:
        num_classes: number of exclusive classes, at least 2.

    Raises:
        ValueError: if `num_classes` is below 2.

    Example:
        >>> records = [{"grade": y, "decided": d, "probabilities": p} for y, d, p in
        ...            [(0, 0, [0.8, 0.2]), (0, 1, [0.4, 0.6]), (1, 1, [0.1, 0.9]), (1, 1, [0.3, 0.7])]]
        >>> summary = ClassificationMetrics(num_classes=2).summary(records)
        >>> {name: summary[name] for name in ("accuracy", "kappa", "auc", "fpr")}
        {'accuracy': 0.75, 'kappa': 0.5, 'auc': 1.0, 'fpr': 0.5}
    """

    primary = "accuracy"
    higher_is_better = True

    def __init__(self, num_classes: int) -> None:
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}.")
        self.num_classes = num_classes

    def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
        """Truth, decision and probabilities of one case."""
        probabilities = victim.output.probabilities(prediction)[0]
        if probabilities.numel() == 1:  # a single logit
            probabilities = torch.cat([1 - probabilities, probabilities])
        grade, decided = (int(value.flatten()[0]) for value in (label, victim.decide(prediction)))
        return {
            "accuracy": float(grade == decided),
            "grade": grade,
            "decided": decided,
            "probabilities": [float(p) for p in probabilities],
        }

    def summary(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """The metrics of one row's cases."""
        truth = [int(record["grade"]) for record in records]
        decided = [int(record["decided"]) for record in records]
        right = [y == d for y, d in zip(truth, decided, strict=True)]
        low, high = wilson_interval(sum(right), len(right))
        classes = range(self.num_classes)
        per_class = {f"accuracy_{k}": _share([r for r, y in zip(right, truth, strict=True) if y == k]) for k in classes}
        false_positives = [_share([d == k for y, d in zip(truth, decided, strict=True) if y != k]) for k in classes]
        return {
            "accuracy": _share(right),
            "accuracy_low": low,
            "accuracy_high": high,
            **per_class,
            "kappa": quadratic_weighted_kappa(truth, decided, self.num_classes),
            "auc": self._auc(records, truth),
            "fpr": _share([d != 0 for y, d in zip(truth, decided, strict=True) if y == 0]),
            "fpr_macro": _mean([rate for rate in false_positives if rate is not None]),
        }

    def _auc(self, records: Sequence[Mapping[str, Any]], truth: Sequence[int]) -> float | None:
        areas = []
        for k in range(self.num_classes):
            mine = torch.tensor([float(y == k) for y in truth])
            if 0 < mine.sum() < len(mine):
                scores = torch.tensor([float(record["probabilities"][k]) for record in records])
                areas.append(float(np.asarray(compute_roc_auc(scores, mine))))
        return _mean(areas)


def quadratic_weighted_kappa(truth: Sequence[int], decided: Sequence[int], num_classes: int) -> float | None:
    """1 - (squared distances of decision and truth) / (those expected if they were independent).

    Args:
        truth: classes 0 to num_classes - 1.
        decided: of the same length.
        num_classes: number of classes.

    Returns:
        In [-1, 1]; None where truth and decision are one and the same single class, which leaves it undefined.

    Example:
        >>> quadratic_weighted_kappa([0, 1, 2, 2], [0, 1, 2, 0], 3)
        0.3846153846153846
    """
    counts = torch.zeros(num_classes, num_classes, dtype=torch.float64)
    for y, d in zip(truth, decided, strict=True):
        counts[y, d] += 1
    grades = torch.arange(num_classes, dtype=torch.float64)
    weights = (grades[:, None] - grades[None, :]) ** 2
    expected = (weights * counts.sum(1, keepdim=True) * counts.sum(0, keepdim=True)).sum() / counts.sum()
    return float(1 - (weights * counts).sum() / expected) if expected > 0 else None


def wilson_interval(successes: int, count: int, confidence: float = 0.95) -> tuple[float | None, float | None]:
    """Confidence interval of a share (Wilson, 1927), as SciPy has it.

    Args:
        successes: cases that count.
        count: all cases; of none there is no interval.
        confidence: how often such an interval holds the true share.

    Example:
        >>> [round(bound, 3) for bound in wilson_interval(30, 50)]
        [0.462, 0.724]
    """
    if not count:
        return None, None
    interval = binomtest(successes, count).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
