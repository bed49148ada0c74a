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

TINY, ROUNDING = 1e-9, 1e-6  # of a bin's end, of a probability in float32


class ClassificationMetrics(CaseMetrics):
    """Accuracy, accuracy per class, quadratic weighted kappa, macro AUC, false positive rates and calibration.

    Over the cases of a row, None where undefined (a class that does not occur has no accuracy and no AUC):

    - ``accuracy``, with ``accuracy_low`` and ``accuracy_high``, its Wilson interval of 95 %;
    - ``accuracy_0``, ``accuracy_1``, ...: of the cases of this class, the share that is decided right;
    - ``kappa``: quadratic weighted kappa (Cohen, 1968), which ordered classes are judged by;
    - ``auc``: mean over classes of the area under the ROC curve, one class against the rest, by the log-odds of the
      class in float64 (probabilities saturate, and an attacked network's all the more), ties half;
    - ``fpr``: healthy cases (class 0) that are decided diseased (any other class);
    - ``fpr_macro``: mean over classes of the share of other classes' cases that are decided for this one.
    - ``ece``: expected calibration error (Guo et al., ICML 2017): how far the probability of the decided class is from
      the share of such decisions that are right, `calibration_error`. Of few cases it is too high, and has no interval.

    With several labels of a case (a victim of ``activation="sigmoid"`` and more than one logit) all of them count:
    ``accuracy`` is the mean over cases of the share of labels decided right, 1 - damage, and has no Wilson interval;
    ``accuracy_<k>``, ``auc`` and ``fpr_macro`` are of each label and its cases; ``fpr`` is of the cases without any
    label that are decided to have one; ``ece`` is of every label's decision; there is no kappa. Ignored labels count
    nowhere.

    Args:
        num_classes: number of exclusive classes, or of labels, at least 2.
        calibration: whether the victim's probabilities are meant as such; else there is no ``ece``.

    Raises:
        ValueError: if `num_classes` is below 2; in use, if the victim has other classes, or the label does not fit.

    Example:
        >>> records = [{"grade": y, "decided": d, "probabilities": p} for y, d, p in
        ...            [(0, 0, [0.8, 0.2]), (0, 1, [0.4, 0.6]), (1, 1, [0.1, 0.9]), (1, 1, [0.3, 0.7])]]
        >>> summary = ClassificationMetrics(num_classes=2).summary(records)
        >>> {name: summary[name] for name in ("accuracy", "kappa", "auc", "fpr")}
        {'accuracy': 0.75, 'kappa': 0.5, 'auc': 1.0, 'fpr': 0.5}
    """

    primary = "accuracy"
    higher_is_better = True
    ranges = {"accuracy": (0, 1)}

    def __init__(self, num_classes: int, *, calibration: bool = True) -> None:
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}.")
        self.num_classes, self.calibration = num_classes, calibration

    def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
        """Truth, decision, probabilities and log-odds of one case; with several labels truth and decision are lists."""
        target, decided = victim.target(label), victim.decide(prediction)
        victim.output.check(prediction, target)
        probabilities, odds = victim.output.probabilities(prediction)[0], victim.output.log_odds(prediction)[0]
        if probabilities.numel() == 1:  # a single logit
            probabilities, odds = torch.cat([1 - probabilities, probabilities]), torch.cat([-odds, odds])
        if len(probabilities) != self.num_classes:
            raise ValueError(f"num_classes must be the victim's, {len(probabilities)}, got {self.num_classes}.")
        scores = {"probabilities": probabilities.tolist(), "log_odds": odds.tolist()}
        if target[0].numel() == 1:
            grade, decision = int(target.flatten()[0]), int(decided.flatten()[0])
            return {"accuracy": float(grade == decision), "grade": grade, "decided": decision, **scores}
        counted = victim.output.counted(target)
        counts = [True] * self.num_classes if counted is None else counted[0].tolist()
        grades = [int(y) if counts_it else None for y, counts_it in zip(target[0], counts, strict=True)]
        found = [int(d) for d in decided[0]]
        right = [y == d for y, d in zip(grades, found, strict=True) if y is not None]
        return self.checked({"accuracy": sum(right) / len(right), "grade": grades, "decided": found, **scores})

    def summary(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """The metrics of one row's cases."""
        if records and isinstance(records[0]["grade"], list):
            return self._of_labels(records)
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
            "auc": _mean([_area(records, k, [y == k for y in truth]) for k in classes]),
            "fpr": _share([d != 0 for y, d in zip(truth, decided, strict=True) if y == 0]),
            "fpr_macro": _mean(false_positives),
            "ece": self._calibration([_sure(r, d) for r, d in zip(records, decided, strict=True)], right),
        }

    def _calibration(self, confidences: Sequence[float], right: Sequence[bool]) -> float | None:
        return calibration_error(confidences, right) if self.calibration else None

    def shares(self, record: Mapping[str, Any]) -> dict[str, bool]:
        """Whether the case is right, of all and of its class, and of a healthy one whether it is called diseased."""
        truth, decided = record["grade"], record["decided"]
        if not isinstance(truth, list):
            right = {"accuracy": truth == decided, f"accuracy_{truth}": truth == decided}
            return right | ({"fpr": decided != 0} if truth == 0 else {})
        pairs = enumerate(zip(truth, decided, strict=True))
        of_labels = {f"accuracy_{k}": y == d for k, (y, d) in pairs if y is not None}
        return of_labels | ({} if any(truth) else {"fpr": _any_counted(record)})

    def _of_labels(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """The metrics of cases of several labels."""
        per_label: dict[str, float | None] = {}
        areas, false_positives = [], []
        for k in range(self.num_classes):
            counted = [record for record in records if record["grade"][k] is not None]
            pairs = [(record["grade"][k], record["decided"][k]) for record in counted]
            per_label[f"accuracy_{k}"] = _share([y == d for y, d in pairs])
            areas.append(_area(counted, k, [y == 1 for y, _ in pairs]))
            false_positives.append(_share([d == 1 for y, d in pairs if y == 0]))
        healthy = [record for record in records if not any(record["grade"])]
        sure, right = [], []
        for record in records:
            for y, d, p in zip(record["grade"], record["decided"], record["probabilities"], strict=True):
                if y is not None:
                    sure.append(p if d or p is None else 1 - p)
                    right.append(y == d)
        return {
            "accuracy": _mean([record["accuracy"] for record in records]),
            "accuracy_low": None,
            "accuracy_high": None,
            **per_label,
            "kappa": None,
            "auc": _mean(areas),
            "fpr": _share([_any_counted(record) for record in healthy]),
            "fpr_macro": _mean(false_positives),
            "ece": self._calibration(sure, right),
        }


def _sure(record: Mapping[str, Any], decided: int) -> float:
    """Probability of the decided class; NaN where none is known."""
    value = record["probabilities"][decided] if "probabilities" in record else None
    return math.nan if value is None else float(value)


def _area(records: Sequence[Mapping[str, Any]], k: int, positive: Sequence[bool]) -> float | None:
    """Area under the ROC curve of one class; None where all cases are of it, or none, or nothing ranks them."""
    ranked = all("log_odds" in record or "probabilities" in record for record in records)
    if not ranked or not 0 < sum(positive) < len(positive):
        return None
    name = "log_odds" if all("log_odds" in record for record in records) else "probabilities"
    scores = torch.tensor([float(record[name][k]) for record in records], dtype=torch.float64)
    return float(np.asarray(compute_roc_auc(scores, torch.tensor(positive, dtype=torch.float64))))


def _any_counted(record: Mapping[str, Any]) -> bool:
    """Whether a case is decided to have a label, of those that count."""
    return any(d == 1 for y, d in zip(record["grade"], record["decided"], strict=True) if y is not None)


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


def calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = 15) -> float | None:
    """Expected calibration error: mean over decisions of the gap between confidence and accuracy of their bin.

    Bins are of equal width and hold their upper end, the first one 0, too. Where all cases are of one class it is
    defined as elsewhere. A decision whose confidence is not known is left out.

    Args:
        confidences: probability of each decision, in [0, 1]; NaN is left out.
        right: whether each is right.
        bins: how many.

    Returns:
        In [0, 1]; None of no decision.

    Raises:
        ValueError: if a confidence is none, or there are no bins.

    Example:
        >>> round(calibration_error([0.9, 0.9, 0.6], [True, False, True]), 6)
        0.4
    """
    if bins < 1:
        raise ValueError(f"bins must be a whole number >= 1, got {bins}.")
    values, hits = np.asarray(confidences, dtype=float), np.asarray(right, dtype=float)
    known = ~np.isnan(values)
    values, hits = values[known], hits[known]
    if not len(values):
        return None
    if values.min() < -ROUNDING or values.max() > 1 + ROUNDING:
        raise ValueError(f"confidences must lie in [0, 1], got values from {values.min():g} to {values.max():g}.")
    place = np.clip(np.ceil(values * bins - TINY).astype(int) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(place, hits - values, bins)).sum() / len(values))


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
    # at its ends the interval is closed, which rounding may miss by 1e-17, on either side
    return (float(interval.low) if successes else 0.0), (float(interval.high) if successes < count else 1.0)


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of what is defined."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
