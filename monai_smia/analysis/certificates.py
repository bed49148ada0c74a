"""Certificates of shifts over all cases, from their records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai_smia.analysis.summary import Group
from monai_smia.records import Flag, Primary, Record
from monai_smia.records.certificate import BOUND, BROKEN, CENTER, FARTHEST, RANGE, REACH, ShiftCertificate
from monai_smia.records.rows import CERTIFIED
from monai_smia.records.shift import CONFIDENCE, DRAWS, SEVERITY, SIGMA


def is_certificate(group: Group) -> bool:
    """Whether a row is of a certificate."""
    return group.row.setting.partition(",")[0] == CERTIFIED


def certificates_of(groups: Sequence[Group], primary: Primary) -> list[ShiftCertificate]:
    """One for each row of a certificate.

    Args:
        groups: of shifts, as `monai_smia.analysis.summary.shift_groups_of` gives them.
        primary: headline metric of the task.
    """
    return [_certificate(group, primary) for group in groups if is_certificate(group)]


def _certificate(group: Group, primary: Primary) -> ShiftCertificate:
    records = group.records
    of_cases = primary.among(record.metrics for record in records)
    worse: Callable[[Any], float | None] = min if of_cases.higher_is_better else max

    def every(name: str) -> list[float]:
        known = [value for record in records if isinstance(value := record.metrics.get(name), (int, float))]
        return known if len(known) == len(records) else []  # of some cases alone it would be another figure

    bounds, first = every(BOUND), records[0].metrics
    least = min(records, key=lambda record: record.metrics[RANGE])
    broken = [record.metrics[BROKEN] for record in records if record.metrics.get(BROKEN) is not None]
    return ShiftCertificate(
        shift=group.row.attack,
        severity=int(first[SEVERITY]),
        metric=of_cases.metric,
        higher_is_better=of_cases.higher_is_better,
        bound=_mean(bounds),
        lowest=worse(bounds) if bounds else None,
        center=_mean(every(CENTER)),
        attacked=_mean(every(FARTHEST)),
        least_range=float(least.metrics[RANGE]),
        reach=str(least.metrics[REACH]),
        broken=min(broken, default=None),
        crossed=sum(_crossed(record) for record in records),
        case=least.case,
        cases=len(records),
        patients=len({record.patient for record in records}),
        draws=int(first[DRAWS]),
        sigma=float(first[SIGMA]),
        confidence=float(first[CONFIDENCE]),
    )


def _crossed(record: Record) -> bool:
    broken = record.metrics.get(BROKEN)
    return broken is not None and broken < record.metrics[RANGE]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def certificate_flags(certificates: Sequence[ShiftCertificate]) -> list[Flag]:
    """Where an attack has broken what was certified, which a certificate is wrong about in few cases alone.

    Args:
        certificates: of all shifts.
    """
    return [
        Flag(
            "broken inside the certified range",
            f"{found.shift}: in {found.crossed} of {found.cases} cases draws say that the median is broken within its "
            "certified range; one of the two is wrong.",
        )
        for found in certificates
        if found.crossed
    ]
