"""The smallest radius at which the attacks of an evaluation leave half of what was right: of every case, and of all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from monai_smia.analysis.radii import computed
from monai_smia.analysis.summary import Group
from monai_smia.records import Record, RowKey
from monai_smia.records.critical_radius import CaseRadius, CriticalRadii
from monai_smia.records.damage import CLEAN_DAMAGE, DAMAGE
from monai_smia.records.rows import CRITICAL_RADIUS

SHARE = 0.5  # of what is right on the clean image
MIN_RADII = 6  # without a bisection, so many make a curve to read it from
MIN_PATIENTS = 6  # below which there is no interval
NORMS = ("linf", "l2")  # also the metrics of a record that are the size of its perturbation


def critical_radii(groups: Sequence[Group], share: float = SHARE) -> list[CriticalRadii]:
    """Per norm, the critical radii of all cases: upper bounds, since a stronger attack may need less.

    Of a case it is the size of the smallest perturbation, over all rows, that leaves at most `share` of what is right
    on the clean image (1 - damage: its Jaccard index, the share of its objects found, whether its decision is right).
    A case that is wrong when clean has none. The median is over patients, each with the median of his cases.

    Args:
        groups: records by row; where none is of the setting ``"critical radius"``, of at least six radii.
        share: of what is right on the clean image, in [0, 1).

    Returns:
        The smallest and largest norm's; empty where the evaluation has too few radii.
    """
    found = []
    for norm in NORMS:
        rows = [g for g in computed(groups) if g.row.norm == norm and g.row.eps]
        rows = [g for g in rows if not g.row.as_the_paper]
        refined = any(group.row.setting == CRITICAL_RADIUS for group in rows)
        if refined or len({group.row.eps for group in rows}) >= MIN_RADII:
            found.append(_of_norm(rows, norm, share))
    return found


def _of_norm(rows: Sequence[Group], norm: str, share: float) -> CriticalRadii:
    largest, largest_input = max(_radius(group.row) for group in rows)
    cases: dict[str, CaseRadius] = {}
    wrong = set()
    for group in rows:
        for record in group.records:
            if record.wrong_when_clean:
                wrong.add(record.case)
                continue
            before = cases.setdefault(record.case, CaseRadius(record.case, record.patient, None, None, None))
            size = _size_that_succeeds(record, norm, share)
            if size is not None and (before.eps_input is None or size < before.eps_input):
                eps, eps_input = _radius(group.row)
                told = CaseRadius(record.case, record.patient, size * eps / eps_input, size, group.row.label)
                cases[record.case] = told
    listed = sorted(cases.values(), key=lambda case: math.inf if case.eps_input is None else case.eps_input)
    values = _of_patients(listed)
    median = float(np.median(values)) if values else math.inf
    return CriticalRadii(
        norm=norm,
        share=share,
        largest=largest,
        largest_input=largest_input,
        median=_known(median * largest / largest_input),
        median_input=_known(median),
        interval_input=_median_interval(values),
        holding=sum(case.eps_input is None for case in listed),
        patients=len(values),
        wrong_when_clean=len(wrong),
        cases=listed,
    )


def _size_that_succeeds(record: Record, norm: str, share: float) -> float | None:
    """The size of a perturbation that leaves at most a share of what was right, None where it leaves more."""
    damage, clean = record.number(DAMAGE), record.number(CLEAN_DAMAGE)
    size = record.number(norm)
    if damage is None or clean is None or size is None or damage < 1 - share * (1 - clean):
        return None
    return min(size, _radius(record.row)[1])  # what lies beyond the radius is rounding


def _radius(row: RowKey) -> tuple[float, float]:
    """In network units, and in the unit of the images."""
    assert row.eps is not None
    assert row.eps_input is not None
    return row.eps, row.eps_input


def _of_patients(cases: Sequence[CaseRadius]) -> list[float]:
    """The median of every patient's cases; infinite where more than half of them hold."""
    found: dict[str, list[float]] = {}
    for case in cases:
        found.setdefault(case.patient, []).append(math.inf if case.eps_input is None else case.eps_input)
    return sorted(float(np.percentile(values, 50, method="lower")) for values in found.values())


def _median_interval(values: Sequence[float]) -> list[float | None] | None:
    """Distribution-free interval of 95 % of the median, by order statistics; nothing is assumed of those that hold."""
    count = len(values)
    if count < MIN_PATIENTS:
        return None
    rank = int(binom.ppf(0.025, count, 0.5))  # the largest with P(X < rank) <= .025
    return [_known(values[rank - 1]), _known(values[count - rank])]


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
