"""How sure the figures are: intervals by patient, paired differences, the worst case over attacks.

What is printed as a 95 % interval covers at least 93 % in simulation (``benchmarks/coverage.py``, docs/statistics.md).
Patients are what is drawn, not cases, and those count of whom a value is known. Where no interval reaches that there is
none, and None says so: below `MIN_PATIENTS` patients, where all of them have the same value, and of values that may be
of any size below `MIN_PATIENTS_UNBOUNDED`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_smia.analysis.intervals import (
    MIN_PATIENTS,
    NO_INTERVAL,
    SIGNED,
    UNBOUNDED,
    Clusters,
    jackknife_interval,
    mean_interval,
    share_interval,
)
from monai_smia.records import Record
from monai_smia.records.summary import Interval

Summarize = Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Any]]  # as `CaseMetrics.summary`
Shares = Callable[[Mapping[str, Any]], Mapping[str, bool]]  # as `CaseMetrics.shares`


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
    """A mean over cases.

    Args:
        value: the mean; None of no case.
        interval: of it; None where there is none to print.
        cases: how many have the value.
        patients: whose they are.
        listed: means of the patients, where they are too few for an interval.
        p: of a mean of 0, two-sided, from the t statistic by patient; None where it is not known.
    """

    value: float | None
    interval: Interval
    cases: int
    patients: int
    listed: list[float]
    p: float | None


def samples_of(records: Iterable[Record]) -> list[Sample]:
    """The metrics of records, as what is drawn from."""
    return [Sample(record.case, record.patient, record.averaged()) for record in records]


def share_samples(samples: Sequence[Sample], shares: Shares | None) -> list[Sample]:
    """What counts cases in a summary, as values 0 and 1 of those that it is of."""
    if shares is None:
        return []
    return [Sample(s.case, s.patient, {name: float(v) for name, v in shares(s.values).items()}) for s in samples]


def mean_of(samples: Sequence[Sample], name: str, *, signed: bool = False) -> Mean:
    """Mean of a value over the samples that have it, with its interval by patient.

    Values that are all 0 or 1 are a share's; those of what is `signed`, as a difference, are not.

    Example:
        >>> samples = [Sample(str(i), str(i), {"jaccard": i / 10}) for i in range(11)]
        >>> found = mean_of(samples, "jaccard")
        >>> round(found.value, 2), found.patients, 0.2 < found.interval[0] < 0.4 < 0.6 < found.interval[1] < 0.8
        (0.5, 11, True)
    """
    clusters = Clusters.of((s.patient, s.values[name]) for s in samples if s.values.get(name) is not None)
    if clusters is None:
        return Mean(None, None, 0, 0, [], None)
    listed = clusters.means() if clusters.patients < MIN_PATIENTS else []
    is_share = clusters.is_share and not signed and not name.startswith((*SIGNED, *UNBOUNDED))
    interval = share_interval(clusters) if is_share else mean_interval(clusters, name, signed=signed)
    return Mean(clusters.mean, interval, clusters.cases, clusters.patients, listed, clusters.p_of_zero())


def mean_intervals(samples: Sequence[Sample], names: Sequence[str]) -> dict[str, Interval]:
    """Interval of the mean of every named value, by patient.

    Args:
        samples: the cases of one row.
        names: floating-point values; None is left out of the mean.
    """
    return {name: mean_of(samples, name).interval for name in names}


def intervals(samples: Sequence[Sample], summarize: Summarize, shares: Shares | None = None) -> dict[str, Interval]:
    """Interval of everything that the summary of one row says.

    Args:
        samples: the cases of one row.
        summarize: as `monai_smia.metrics.CaseMetrics.summary`; what it says and is no mean of a value of the cases
            (kappa, AUC, mAP) is summarized anew without each patient.
        shares: as `monai_smia.metrics.CaseMetrics.shares`: what counts cases, and whether each one counts.
    """
    every = [sample.values for sample in samples]
    names = dict.fromkeys(name for values in every for name in values)
    plain = [name for name in names if any(isinstance(values.get(name), float) for values in every)]
    result = mean_intervals(samples, plain)
    said = summarize(every)
    counted = share_samples(samples, shares)
    of_shares = dict.fromkeys(name for sample in counted for name in sample.values if name in said)
    result |= mean_intervals(counted, list(of_shares))
    asked = [name for name in said if name not in of_shares and not name.startswith(NO_INTERVAL)]
    others = [name for name in asked if name not in plain or not _is_mean(every, name, said[name])]
    return result | (_of_summaries(samples, summarize, others) if others else {})


def _of_summaries(samples: Sequence[Sample], summarize: Summarize, names: Sequence[str]) -> dict[str, Interval]:
    patients: dict[str, list[Mapping[str, Any]]] = {}
    for sample in samples:
        patients.setdefault(sample.patient, []).append(sample.values)
    groups = list(patients.values())
    if len(groups) < MIN_PATIENTS:
        return dict.fromkeys(names)
    whole = summarize([values for group in groups for values in group])
    without = [summarize([v for j, group in enumerate(groups) if j != i for v in group]) for i in range(len(groups))]
    return {name: jackknife_interval(whole.get(name), [each.get(name) for each in without], name) for name in names}


def paired_difference(first: Sequence[Sample], second: Sequence[Sample], name: str) -> Mean:
    """Mean of first minus second over the cases that both have, with its interval by patient.

    Args:
        first, second: the cases of two rows.
        name: value of every case.
    """
    others = {sample.case: sample.values.get(name) for sample in second}
    pairs = [
        Sample(sample.case, sample.patient, {f"{name} difference": float(sample.values[name] - others[sample.case])})
        for sample in first
        if sample.values.get(name) is not None and others.get(sample.case) is not None
    ]
    return mean_of(pairs, f"{name} difference", signed=True)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """P values adjusted for all comparisons of one table (Holm, 1979); None stays None, and does not count.

    Example:
        >>> holm([0.01, 0.04, None, 0.03])
        [0.03, 0.06, None, 0.06]
    """
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    least = 0.0
    for rank, (p, i) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * p))
        adjusted[i] = least
    return adjusted


def worst_case(rows: Mapping[str, Sequence[Sample]], name: str, *, lowest: bool = True) -> tuple[Mean, dict[str, Any]]:
    """The worst value of every case over several attacks: what an attacker who tries them all gets.

    Args:
        rows: the cases by row.
        name: value of every case.
        lowest: whether the lowest is the worst.

    Returns:
        The mean over cases, and by case the rows that reach its worst value, all of them.
    """
    worst: dict[str, Sample] = {}
    by: dict[str, list[str]] = {}
    for row, samples in rows.items():
        for sample in samples:
            value = sample.values.get(name)
            if value is None:
                continue
            before = worst[sample.case].values[name] if sample.case in worst else None
            if before is None or (value < before if lowest else value > before):
                worst[sample.case] = Sample(sample.case, sample.patient, {name: float(value)})
                by[sample.case] = [row]
            elif value == before:
                by[sample.case].append(row)
    return mean_of(list(worst.values()), name), by


def _is_mean(every: Sequence[Mapping[str, Any]], name: str, value: Any) -> bool:
    values = [each[name] for each in every if each.get(name) is not None]
    return value is None or (bool(values) and abs(float(np.mean(values)) - value) <= 1e-9 * max(1.0, abs(value)))
