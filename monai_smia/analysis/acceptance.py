"""Acceptance: criteria in their user's own words, refused before a run where they cannot be told, judged at its end.

``jaccard >= 0.80 at 28 HU`` is of the worst case, the mean over cases of the worst attack; ``jaccard lower end >= 0.75
at 28 HU`` of the lower end of its 95 % interval by patient; ``critical_radius >= 20 HU`` of the median over patients of
the smallest radius that leaves half of what is right. Whether a criterion is a good one nobody says here.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence

from monai_smia.analysis.comparisons import WorstCase, worst_cases
from monai_smia.analysis.criteria import Criterion, radius_text, read_number, read_radius
from monai_smia.analysis.critical_radius import MIN_RADII
from monai_smia.analysis.intervals import MIN_PATIENTS, MIN_PATIENTS_UNBOUNDED, UNBOUNDED
from monai_smia.analysis.summary import Group
from monai_smia.metrics import CaseMetrics
from monai_smia.metrics.structures import structure_of, structures_of
from monai_smia.records import Primary, RowKey
from monai_smia.records.critical_radius import CriticalRadii
from monai_smia.records.damage import DAMAGE
from monai_smia.records.rows import CRITICAL_RADIUS, NO_KNOWLEDGE
from monai_smia.records.summary import Verdict

EXAMPLE = "'jaccard >= 0.80 at 28 HU', 'jaccard lower end >= 0.75 at eps 0.02' or 'critical_radius >= 20 HU'"
ENDS = {"lower end": 0, "upper end": 1}
SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
FORM = re.compile(r"(?P<left>[^<>=]+?)\s*(?P<sign>[<>]=?)\s*(?P<number>[^\s<>=]+)(?:\s+at\s+(?P<radius>.+))?")
CRITICAL = re.compile(
    r"critical[ _]radius(?:\s+(?P<end>lower end|upper end))?\s*(?P<sign>[<>]=?)\s*(?P<radius>[^<>=]+)", re.I
)
NEAR = 1e-6  # of a radius as it is printed and as it is planned
ROUNDING = 1e-9  # of a mean


def parse_criteria(
    accept: str | Sequence[str] | None,
    *,
    rows: Sequence[RowKey],
    metrics: CaseMetrics,
    unit: str = "",
    patients: int = 0,
) -> list[Criterion]:
    """The criteria, each known to be one that the plan can tell.

    Args:
        accept: one or several, with ``;`` between them or in a list; None for none.
        rows: of the plan.
        metrics: of the task.
        unit: of the images.
        patients: whose the cases are.

    Raises:
        ValueError: if one is none, or of a metric, a radius or an interval that the evaluation will not have.

    Example:
        >>> from monai_smia.metrics import SegmentationMetrics
        >>> rows = [RowKey(), RowKey("PGD", eps=0.02, eps_input=28.0, unit="HU")]
        >>> found = parse_criteria("jaccard >= .8 at 28 HU", rows=rows, metrics=SegmentationMetrics(), unit="HU")
        >>> found[0].metric, found[0].threshold, found[0].row.attack
        ('jaccard', 0.8, 'PGD')
        >>> parse_criteria("jacard >= .8 at 28 HU", rows=rows, metrics=SegmentationMetrics(), unit="HU")
        Traceback (most recent call last):
        ValueError: accept 'jacard >= .8 at 28 HU' must name a metric of every single case, one of accuracy, damage, \
dice, hd95, invented_ml, invented_voxels, jaccard, surface_dice_2mm, surface_dice_2voxels (or of one structure, such \
as jaccard_1), got 'jacard'; did you mean jaccard?
    """
    if accept is None:
        return []
    several = [accept] if isinstance(accept, str) else accept
    if not isinstance(several, (list, tuple)) or not all(isinstance(text, str) for text in several):
        raise ValueError(f"accept must be text such as {EXAMPLE}, or a list of such texts, got {accept!r}.")
    texts = [" ".join(part.split()) for text in several for part in text.split(";") if part.strip()]
    if not texts:
        raise ValueError(f"accept must hold at least one criterion, such as {EXAMPLE}, got {accept!r}.")
    searched = [r for r in rows if not r.is_clean and not r.as_the_paper and r.knowledge != NO_KNOWLEDGE]
    return [_parsed(text, searched, metrics, unit, patients) for text in texts]


def _parsed(text: str, searched: Sequence[RowKey], metrics: CaseMetrics, unit: str, patients: int) -> Criterion:
    told = f"accept {text!r}"
    plain = text.replace("\u2265", ">=").replace("\u2264", "<=")
    if critical := CRITICAL.fullmatch(plain):
        return _critical(told, text, critical, searched, unit, patients)
    found = FORM.fullmatch(plain)
    if found is None:
        raise ValueError(f"{told} must read as {EXAMPLE}.")
    left, sign = found["left"].strip(), found["sign"]
    end = next((name for name in ENDS if left.lower().endswith(f" {name}")), "")
    metric = left[: len(left) - len(end)].strip()
    _check_metric(told, metric, metrics)
    _check_direction(told, metric, end, sign, metrics)
    least = MIN_PATIENTS_UNBOUNDED if metric.startswith(UNBOUNDED) else MIN_PATIENTS
    if end and patients < least:
        raise ValueError(
            f"{told} must be of the mean: of fewer than {least} patients no interval of {metric} is printed, and the "
            f"cases are of {patients}."
        )
    threshold = read_number(told, found["number"])
    low, high = metrics.ranges.get(metric, (0, 1) if metric == DAMAGE else (-math.inf, math.inf))
    if not low <= threshold <= high:
        raise ValueError(f"{told} must compare {metric} with a number from {low:g} to {high:g}, got {threshold:g}.")
    rows = [row for row in searched if row.is_within]
    return Criterion(text, metric, end, sign, threshold, _row_at(told, found["radius"], rows, unit))


def _check_metric(told: str, metric: str, metrics: CaseMetrics) -> None:
    known = sorted({*metrics.ranges, DAMAGE})
    if metrics.ranges and metric not in known:  # metrics of the user's own need not say their names
        near = difflib.get_close_matches(metric, known, 1)
        hint = f"; did you mean {near[0]}?" if near else "."
        structures = structures_of(known)
        plain = [name for name in known if structure_of(name, structures) is None]
        of_one = f" (or of one structure, such as jaccard_{structures[0]})" if structures else ""
        raise ValueError(
            f"{told} must name a metric of every single case, one of {', '.join(plain)}{of_one}, got {metric!r}{hint}"
        )


def _check_direction(told: str, metric: str, end: str, sign: str, metrics: CaseMetrics) -> None:
    """Raise where a criterion would be met by what is worse, or by the better end of an interval."""
    higher = sign.startswith(">")
    lower_is_better = {DAMAGE, *metrics.lower_is_better, *([] if metrics.higher_is_better else [metrics.primary])}
    if metric in {DAMAGE, metrics.primary, *metrics.ranges} and higher == (metric in lower_is_better):
        better = "less" if higher else "more"
        raise ValueError(f"{told} must be a bound from the other side: a victim is better with {better} {metric}.")
    if end and ENDS[end] != (0 if higher else 1):
        raise ValueError(
            f"{told} must be of the {'lower' if higher else 'upper'} end: the other one is the better end."
        )


def _row_at(told: str, text: str | None, rows: Sequence[RowKey], unit: str) -> RowKey:
    """A row of the radius that is asked for."""
    planned = _planned(rows, unit)
    if text is None:
        raise ValueError(f"{told} must say at which radius of the plan, {planned}.")
    radius = read_radius(told, text, unit, planned)
    for row in rows:
        there = radius.of(row)
        if there is not None and math.isclose(there, radius.value, rel_tol=NEAR):
            return row
    raise ValueError(f"{told} must name a radius of the plan, {planned}, got {text!r}.")


def _planned(rows: Sequence[RowKey], unit: str) -> str:
    return ", ".join(dict.fromkeys(radius_text(row, unit) for row in rows)) or "which attacks at none"


def _critical(
    told: str, text: str, found: re.Match[str], rows: Sequence[RowKey], unit: str, patients: int
) -> Criterion:
    """A criterion on the median critical radius, where the plan looks for one that may be as large."""
    radius, end = read_radius(told, found["radius"], unit, _planned(rows, unit)), (found["end"] or "").lower()
    own = [(size, row) for row in rows if (size := radius.of(row))]
    if not any(row.setting == CRITICAL_RADIUS for _, row in own) and len({row.eps for _, row in own}) < MIN_RADII:
        raise ValueError(
            f"{told} needs a plan that looks for critical radii, such as --preset radius, or {MIN_RADII} radii."
        )
    if not found["sign"].startswith(">") or end == "upper end":
        raise ValueError(f"{told} must be a bound from below, of the median or its lower end: more of it is better.")
    if end and patients < MIN_PATIENTS:
        raise ValueError(
            f"{told} must be of the median: of fewer than {MIN_PATIENTS} patients no interval is printed, and the "
            f"cases are of {patients}."
        )
    size, largest = max(own, key=lambda pair: pair[0])
    if not 0 <= radius.value <= size * (1 + NEAR):
        raise ValueError(f"{told} must be at most the largest radius of the plan, {radius_text(largest, unit)}.")
    return Criterion(text, CRITICAL_RADIUS, end, found["sign"], radius.value, largest, radius.in_network_units)


def judge(
    criteria: Sequence[Criterion], groups: Sequence[Group], critical_radii: Sequence[CriticalRadii] = ()
) -> list[Verdict]:
    """Whether every criterion is met; what cannot be told is not.

    Args:
        criteria: as from `parse_criteria`.
        groups: records by row, of complete cases.
        critical_radii: of the summary.
    """
    fair = [group for group in groups if group.row.is_bounded]
    return [
        _of_radii(each, critical_radii) if each.metric == CRITICAL_RADIUS else _verdict(each, fair) for each in criteria
    ]


def _of_radii(criterion: Criterion, critical_radii: Sequence[CriticalRadii]) -> Verdict:
    """Of the median critical radius; beyond the largest radius, it is that one, which no criterion asks more than."""
    norm = criterion.row.norm or "linf"
    found = next((each for each in critical_radii if each.norm == norm), None)
    of = f"{criterion.end} of the median critical radius" if criterion.end else "median critical radius"
    counts = (0, 0) if found is None else (len(found.cases), found.patients)

    def told(value: float | None, reason: str = "") -> Verdict:
        met = value is not None and _is_met(criterion, value)
        return Verdict(criterion.text, of, value, criterion.threshold, met, reason, *counts)

    if found is None or not found.patients:
        return told(None, "no case has one")
    if criterion.end and found.interval_input is None:
        return told(None, f"no interval is printed of these {found.patients} patients")
    value = found.interval_input[0] if criterion.end and found.interval_input else found.median_input
    of += "" if value is not None else " (none found up to the largest radius)"
    value = found.largest_input if value is None else value
    if value is None or not criterion.in_network_units:
        return told(value)
    return told(value * (criterion.row.eps or 0.0) / (criterion.row.eps_input or 1.0))


def _verdict(criterion: Criterion, groups: Sequence[Group]) -> Verdict:
    row = criterion.row
    worst = next(
        (
            each
            for each in worst_cases(groups, Primary(criterion.metric, criterion.higher_is_better))
            if (each.eps, each.eps_input, each.norm) == (row.eps, row.eps_input, row.norm)
        ),
        None,
    )
    value, why = _figure(criterion, worst)
    met = value is not None and _is_met(criterion, value)
    cases, patients = (0, 0) if worst is None else (worst.cases, worst.patients)
    of = f"{criterion.end} of the worst-case mean" if criterion.end else "worst-case mean"
    return Verdict(criterion.text, of, value, criterion.threshold, met, why, cases, patients)


def _is_met(criterion: Criterion, value: float) -> bool:
    """Whether it is, where what lies within rounding of the threshold counts as equal to it."""
    if abs(value - criterion.threshold) <= ROUNDING * max(1.0, abs(criterion.threshold)):
        return criterion.sign.endswith("=")
    return SIGNS[criterion.sign](value, criterion.threshold)


def _figure(criterion: Criterion, worst: WorstCase | None) -> tuple[float | None, str]:
    """What is compared, or why it cannot be told."""
    if worst is None or worst.mean is None:
        return None, f"no case has {criterion.metric} at this radius"
    if not criterion.end:
        return worst.mean, ""
    if worst.interval is None:
        return None, f"no interval is printed of these {worst.patients} patients"
    return worst.interval[ENDS[criterion.end]], ""
