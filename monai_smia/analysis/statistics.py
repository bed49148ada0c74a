"""How sure the figures are: bootstrap intervals by patient, paired differences, the worst case over attacks.

Patients are drawn, not cases: several scans of one patient are one draw. With a single patient there is no interval,
and None says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Record = Mapping[str, Any]
Interval = list[float] | None

SAMPLES = 2000
SAMPLES_OF_SUMMARIES = 200  # where every draw means a summary of records (kappa, AUC, mAP) instead of a product
LEVEL = 0.95


def patient_of(record: Record) -> str:
    """The patient of a record; every case is one where nothing else was said."""
    return str(record.get("patient", record["case"]))


def draws(patients: int, samples: int = SAMPLES, seed: int = 0) -> np.ndarray:
    """How often each patient is in each bootstrap sample ``(samples, patients)``."""
    return np.random.default_rng(seed).multinomial(patients, [1 / patients] * patients, samples)


def percentiles(values: np.ndarray) -> Interval:
    """The middle 95 % of bootstrap values; None where there are none."""
    values = values[np.isfinite(values)]
    tail = 50 * (1 - LEVEL)
    return [float(v) for v in np.percentile(values, [tail, 100 - tail])] if len(values) else None


def mean_intervals(records: Sequence[Record], names: Sequence[str], seed: int = 0) -> dict[str, Interval]:
    """Bootstrap interval of the mean of every named value, by patient.

    Args:
        records: of one row.
        names: floating-point values; None is left out of the mean.
        seed: of the draws.

    Example:
        >>> records = [{"case": str(i), "jaccard": i / 10} for i in range(11)]
        >>> low, high = mean_intervals(records, ["jaccard"])["jaccard"]
        >>> 0.2 < low < 0.4 < 0.6 < high < 0.8
        True
    """
    order = {patient: i for i, patient in enumerate(dict.fromkeys(map(patient_of, records)))}
    if len(order) < 2:
        return dict.fromkeys(names)
    index = np.array([order[patient_of(record)] for record in records])
    values = np.array([[np.nan if r.get(n) is None else r[n] for n in names] for r in records], dtype=float)
    known = np.isfinite(values)
    sums, counts = np.zeros((len(order), len(names))), np.zeros((len(order), len(names)))
    np.add.at(sums, index, np.where(known, values, 0.0))
    np.add.at(counts, index, known)
    drawn = draws(len(order), seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (drawn @ sums) / (drawn @ counts)
    return {name: percentiles(means[:, i]) for i, name in enumerate(names)}


def intervals(
    records: Sequence[Record], summary: Callable[[Sequence[Record]], Mapping[str, Any]], seed: int = 0
) -> dict[str, Interval]:
    """Interval of everything that the summary of one row says.

    Args:
        records: of one row.
        summary: as `monai_smia.metrics.CaseMetrics.summary`; what it says and is no mean of a value of the records
            (kappa, AUC, mAP) is summarized anew for every draw.
        seed: of the draws.
    """
    plain = [
        n for n in dict.fromkeys(n for r in records for n in r) if any(isinstance(r.get(n), float) for r in records)
    ]
    result = mean_intervals(records, plain, seed)
    said = summary(records)
    others = [name for name in said if name not in plain or not _is_mean(records, name, said[name])]
    if not others:
        return result
    patients: dict[str, list[Record]] = {}
    for record in records:
        patients.setdefault(patient_of(record), []).append(record)
    if len(patients) < 2:
        return result | dict.fromkeys(others)
    groups, drawn = list(patients.values()), []
    for counts in draws(len(patients), SAMPLES_OF_SUMMARIES, seed):
        drawn.append(summary([r for group, count in zip(groups, counts, strict=True) for r in group * int(count)]))
    for name in others:
        values = np.array([np.nan if d.get(name) is None else d[name] for d in drawn], dtype=float)
        result[name] = percentiles(values)
    return result


def paired_difference(first: Sequence[Record], second: Sequence[Record], name: str, seed: int = 0) -> Record:
    """Mean of first minus second over the cases that both have, with its interval by patient.

    Args:
        first, second: records of two rows.
        name: value of every case.
        seed: of the draws.

    Returns:
        ``difference``, ``interval`` and ``cases``; None where there is no common case.
    """
    others = {record["case"]: record.get(name) for record in second}
    pairs = [
        {"case": r["case"], "patient": patient_of(r), "difference": float(r[name] - others[r["case"]])}
        for r in first
        if r.get(name) is not None and others.get(r["case"]) is not None
    ]
    mean = float(np.mean([pair["difference"] for pair in pairs])) if pairs else None
    interval = mean_intervals(pairs, ["difference"], seed)["difference"] if pairs else None
    return {"difference": mean, "interval": interval, "cases": len(pairs)}


def worst_case(groups: Mapping[Any, Sequence[Record]], name: str, *, lowest: bool = True, seed: int = 0) -> Record:
    """The worst value of every case over several attacks: what an attacker who tries them all gets.

    Args:
        groups: records by row.
        name: value of every case.
        lowest: whether the lowest is the worst.
        seed: of the draws.

    Returns:
        ``mean`` over cases, its ``interval``, the number of ``cases``, and ``won``: how often each row was the worst.
    """
    worst: dict[str, tuple[float, Any, str]] = {}
    for key, records in groups.items():
        for record in records:
            value = record.get(name)
            if value is None:
                continue
            before = worst.get(record["case"])
            if before is None or (value < before[0] if lowest else value > before[0]):
                worst[record["case"]] = (float(value), key, patient_of(record))
    values = [{"case": case, "patient": patient, "worst": value} for case, (value, _, patient) in worst.items()]
    won = {key: sum(by == key for _, by, _ in worst.values()) for key in groups}
    mean = float(np.mean([v["worst"] for v in values])) if values else None
    interval = mean_intervals(values, ["worst"], seed)["worst"] if values else None
    return {"mean": mean, "interval": interval, "cases": len(values), "won": won}


def _is_mean(records: Sequence[Record], name: str, value: Any) -> bool:
    values = [r[name] for r in records if r.get(name) is not None]
    return value is None or (bool(values) and abs(float(np.mean(values)) - value) <= 1e-9 * max(1.0, abs(value)))
