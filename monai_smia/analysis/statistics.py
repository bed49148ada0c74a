"""How sure the figures are: bootstrap intervals by patient, paired differences, the worst case over attacks.

Patients are drawn, not cases: several scans of one patient are one draw. With a single patient there is no interval,
and None says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_smia.records import Record
from monai_smia.records.summary import Interval

SAMPLES = 2000
SAMPLES_OF_SUMMARIES = 200  # where every draw means a summary of records (kappa, AUC, mAP) instead of a product
LEVEL = 0.95

Summarize = Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Any]]  # as `CaseMetrics.summary`


@dataclass(frozen=True)
class Sample:
    """Values of one case.

    Args:
        case: its name.
        patient: whose it is; several cases of one patient are drawn together.
        values: by name; None is undefined.
    """

    case: str
    patient: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Mean:
    """A mean over cases with its interval; None where there is nothing to say."""

    value: float | None
    interval: Interval
    cases: int


def samples_of(records: Iterable[Record]) -> list[Sample]:
    """The metrics of records, as what is drawn from."""
    return [Sample(record.case, record.patient, record.averaged()) for record in records]


def draws(patients: int, samples: int = SAMPLES, seed: int = 0) -> np.ndarray:
    """How often each patient is in each bootstrap sample ``(samples, patients)``."""
    return np.random.default_rng(seed).multinomial(patients, [1 / patients] * patients, samples)


def percentiles(values: np.ndarray) -> Interval:
    """The middle 95 % of bootstrap values; None where there are none."""
    values = values[np.isfinite(values)]
    tail = 50 * (1 - LEVEL)
    return [float(v) for v in np.percentile(values, [tail, 100 - tail])] if len(values) else None


def mean_intervals(samples: Sequence[Sample], names: Sequence[str], seed: int = 0) -> dict[str, Interval]:
    """Bootstrap interval of the mean of every named value, by patient.

    Args:
        samples: the cases of one row.
        names: floating-point values; None is left out of the mean.
        seed: of the draws.

    Example:
        >>> samples = [Sample(str(i), str(i), {"jaccard": i / 10}) for i in range(11)]
        >>> low, high = mean_intervals(samples, ["jaccard"])["jaccard"]
        >>> 0.2 < low < 0.4 < 0.6 < high < 0.8
        True
    """
    order = {patient: i for i, patient in enumerate(dict.fromkeys(sample.patient for sample in samples))}
    if len(order) < 2:
        return dict.fromkeys(names)
    index = np.array([order[sample.patient] for sample in samples])
    rows = [[sample.values.get(name) for name in names] for sample in samples]
    values = np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=float)
    known = np.isfinite(values)
    sums, counts = np.zeros((len(order), len(names))), np.zeros((len(order), len(names)))
    np.add.at(sums, index, np.where(known, values, 0.0))
    np.add.at(counts, index, known)
    drawn = draws(len(order), seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (drawn @ sums) / (drawn @ counts)
    return {name: percentiles(means[:, i]) for i, name in enumerate(names)}


def intervals(samples: Sequence[Sample], summarize: Summarize, seed: int = 0) -> dict[str, Interval]:
    """Interval of everything that the summary of one row says.

    Args:
        samples: the cases of one row.
        summarize: as `monai_smia.metrics.CaseMetrics.summary`; what it says and is no mean of a value of the cases
            (kappa, AUC, mAP) is summarized anew for every draw.
        seed: of the draws.
    """
    every = [sample.values for sample in samples]
    names = dict.fromkeys(name for values in every for name in values)
    plain = [name for name in names if any(isinstance(values.get(name), float) for values in every)]
    result = mean_intervals(samples, plain, seed)
    said = summarize(every)
    others = [name for name in said if name not in plain or not _is_mean(every, name, said[name])]
    if not others:
        return result
    patients: dict[str, list[Mapping[str, Any]]] = {}
    for sample in samples:
        patients.setdefault(sample.patient, []).append(sample.values)
    if len(patients) < 2:
        return result | dict.fromkeys(others)
    groups, drawn = list(patients.values()), []
    for counts in draws(len(patients), SAMPLES_OF_SUMMARIES, seed):
        drawn.append(summarize([v for group, count in zip(groups, counts, strict=True) for v in group * int(count)]))
    for name in others:
        values = np.array([np.nan if d.get(name) is None else d[name] for d in drawn], dtype=float)
        result[name] = percentiles(values)
    return result


def mean_of(samples: Sequence[Sample], name: str, seed: int = 0) -> Mean:
    """Mean of a value that every sample has, with its interval by patient."""
    if not samples:
        return Mean(None, None, 0)
    interval = mean_intervals(samples, [name], seed)[name]
    return Mean(float(np.mean([sample.values[name] for sample in samples])), interval, len(samples))


def paired_difference(first: Sequence[Sample], second: Sequence[Sample], name: str, seed: int = 0) -> Mean:
    """Mean of first minus second over the cases that both have, with its interval by patient.

    Args:
        first, second: the cases of two rows.
        name: value of every case.
        seed: of the draws.
    """
    others = {sample.case: sample.values.get(name) for sample in second}
    pairs = [
        Sample(sample.case, sample.patient, {"difference": float(sample.values[name] - others[sample.case])})
        for sample in first
        if sample.values.get(name) is not None and others.get(sample.case) is not None
    ]
    return mean_of(pairs, "difference", seed)


def worst_case(
    rows: Mapping[str, Sequence[Sample]], name: str, *, lowest: bool = True, seed: int = 0
) -> tuple[Mean, dict[str, int]]:
    """The worst value of every case over several attacks: what an attacker who tries them all gets.

    Args:
        rows: the cases by row.
        name: value of every case.
        lowest: whether the lowest is the worst.
        seed: of the draws.

    Returns:
        The mean over cases, and how often each row was the worst.
    """
    worst: dict[str, Sample] = {}
    by: dict[str, str] = {}
    for row, samples in rows.items():
        for sample in samples:
            value = sample.values.get(name)
            if value is None:
                continue
            before = worst[sample.case].values["worst"] if sample.case in worst else None
            if before is None or (value < before if lowest else value > before):
                worst[sample.case] = Sample(sample.case, sample.patient, {"worst": float(value)})
                by[sample.case] = row
    won = {row: sum(winner == row for winner in by.values()) for row in rows}
    return mean_of(list(worst.values()), "worst", seed), won


def _is_mean(every: Sequence[Mapping[str, Any]], name: str, value: Any) -> bool:
    values = [each[name] for each in every if each.get(name) is not None]
    return value is None or (bool(values) and abs(float(np.mean(values)) - value) <= 1e-9 * max(1.0, abs(value)))
