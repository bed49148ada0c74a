"""Metrics of a task: values of one case, and the summary of many."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor


class CaseMetrics(ABC):
    """Metrics of a task, in two steps: the values that are kept of every case, and their summary over cases.

    A record keeps what `case` returned, and a summary is made of records alone. Floating-point values are metrics of
    the case and are averaged; integers, strings, lists and dictionaries are facts that a `summary` of its own may need
    (the grade, class probabilities, boxes). None stands for undefined.

    Attributes:
        primary: name of the metric that comes first in a report; it is said of every case.
        higher_is_better: whether a victim is better with more of it; of damage it never is.
        ranges: lowest and highest possible value of the metrics of a case by their names.
        lower_is_better: those of them that a victim is better with less of.
    """

    primary = "damage"
    higher_is_better = True
    ranges: Mapping[str, tuple[float, float]] = {}
    lower_is_better: frozenset[str] = frozenset()

    @abstractmethod
    def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
        """Values of one case that JSON can hold.

        Args:
            victim: the `monai_smia.victims.Victim` that predicted; its `decide` turns the prediction into a decision.
            prediction: raw prediction for a batch of one, on the image's own grid.
            label: the case's label as a batch of one.
            image: the clean image ``(1, C, *spatial)``, a MetaTensor where it has an affine.
        """

    def checked(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values of a case, each known to lie in its range.

        Raises:
            ValueError: if one does not; it is named.
        """
        for name, (low, high) in self.ranges.items():
            value = values.get(name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} must lie in [{low}, {high}], got {value}: decision and label do not fit.")
        return values

    def summary(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """Metrics over the cases of one row of a table; here the mean of every metric.

        Args:
            records: one per case.
        """
        return means(records)

    def changes(self, values: Mapping[str, Any], clean: Mapping[str, Any]) -> dict[str, float | None]:
        """What an attack has changed of a case, as further values of it; here nothing.

        Args:
            values: of the case under attack.
            clean: of the same case, clean.
        """
        return {}

    def shares(self, record: Mapping[str, Any]) -> dict[str, bool]:
        """What counts cases in the summary, such as a false positive rate: by name, whether this case does.

        Only what the case is one of, so that an interval is of the patients whom it concerns; here nothing.

        Args:
            record: values of one case.
        """
        return {}


def means(records: Sequence[Mapping[str, Any]], names: Iterable[str] | None = None) -> dict[str, float | None]:
    """Mean of every floating-point value over the records that define it, None where none does.

    Args:
        records: with values that JSON can hold.
        names: which values; all that are floating-point in some record where None.

    Example:
        >>> means([{"jaccard": 0.1, "grade": 3}, {"jaccard": 0.3, "grade": 1}, {"jaccard": None}])
        {'jaccard': 0.2}
    """
    if names is None:
        names = dict.fromkeys(name for r in records for name, v in r.items() if isinstance(v, float) or v is None)
    result: dict[str, float | None] = {}
    for name in names:
        values = [record[name] for record in records if record.get(name) is not None]
        if all(isinstance(value, (int, float)) for value in values):
            result[name] = math.fsum(values) / len(values) if values else None
    return result


def numbers(values: Mapping[str, Tensor]) -> dict[str, float | None]:
    """The first sample's value of every metric ``(B,)``; None where it is not finite, which JSON does not have.

    Example:
        >>> import torch
        >>> numbers({"hd95": torch.tensor([torch.nan]), "psnr": torch.tensor([torch.inf]), "linf": torch.tensor([0.0])})
        {'hd95': None, 'psnr': None, 'linf': 0.0}
    """
    first = {name: float(value[0]) for name, value in values.items()}
    return {name: number if math.isfinite(number) else None for name, number in first.items()}
