"""Acceptance: criteria in their user's own words, refused before a run where they cannot be told, judged at its end.

``jaccard >= 0.80 at 28 HU`` is of the worst case, the mean over cases of the worst attack; ``jaccard lower end >= 0.75
at 28 HU`` of the lower end of its 95 % interval by patient. Whether a criterion is a good one nobody says here.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from monai_smia.analysis.comparisons import WorstCase, worst_cases
from monai_smia.analysis.intervals import MIN_PATIENTS, MIN_PATIENTS_UNBOUNDED, UNBOUNDED
from monai_smia.analysis.summary import Group
from monai_smia.metrics import CaseMetrics
from monai_smia.metrics.structures import structure_of, structures_of
from monai_smia.records import Primary, RowKey
from monai_smia.records.damage import DAMAGE
from monai_smia.records.rows import NO_KNOWLEDGE, NOT_WITHIN
from monai_smia.records.summary import Verdict

EXAMPLE = "'jaccard >= 0.80 at 28 HU' or 'jaccard lower end >= 0.75 at eps 0.02'"
ENDS = {"lower end": 0, "upper end": 1}
SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
FORM = re.compile(r"(?P<left>[^<>=]+?)\s*(?P<sign>[<>]=?)\s*(?P<number>[^\s<>=]+)(?:\s+at\s+(?P<radius>.+))?")
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
RADIUS = re.compile(rf"(?P<eps>eps\s+)?(?P<number>{NUMBER})\s*(?P<unit>.*?)(?:\s*\bin\s+(?P<norm>L2|L-?inf))?", re.I)
NEAR = 1e-6  # of a radius as it is printed and as it is planned
ROUNDING = 1e-9  # of a mean


@dataclass(frozen=True)
class Criterion:
    """One criterion, known to fit the plan.

    Args:
        text: as its user wrote it.
        metric: of every case.
        end: ``"lower end"`` or ``"upper end"`` of the interval of the worst-case mean; empty for the mean itself.
        sign: ``">="``, ``">"``, ``"<="`` or ``"<"``.
        threshold: what the figure is compared with.
        row: any row of its radius and norm.
    """

    text: str
    metric: str
    end: str
    sign: str
    threshold: float
    row: RowKey

    @property
    def higher_is_better(self) -> bool:
        """Whether the figure is to be high."""
        return self.sign.startswith(">")


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
    attacked = [
        row for row in rows if not row.is_clean and row.setting not in NOT_WITHIN and row.knowledge != NO_KNOWLEDGE
    ]
    return [_parsed(text, attacked, metrics, unit, patients) for text in texts]


def _parsed(text: str, rows: Sequence[RowKey], metrics: CaseMetrics, unit: str, patients: int) -> Criterion:
    told = f"accept {text!r}"
    if text.lower().replace(" ", "_").startswith("critical_radius"):
        raise ValueError(f"{told} must be of a metric: a critical radius is not computed by this plan.")
    found = FORM.fullmatch(text.replace("\u2265", ">=").replace("\u2264", "<="))
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
    threshold = _number(told, found["number"])
    low, high = metrics.ranges.get(metric, (0, 1) if metric == DAMAGE else (-math.inf, math.inf))
    if not low <= threshold <= high:
        raise ValueError(f"{told} must compare {metric} with a number from {low:g} to {high:g}, got {threshold:g}.")
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


def _number(told: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{told} must hold plain numbers, got {text!r}.")
    return value


def _row_at(told: str, text: str | None, rows: Sequence[RowKey], unit: str) -> RowKey:
    """A row of the radius that is asked for."""
    planned = ", ".join(dict.fromkeys(_radius_text(row, unit) for row in rows)) or "which attacks at none"
    if text is None:
        raise ValueError(f"{told} must say at which radius of the plan, {planned}.")
    found = RADIUS.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{told} must name a radius of the plan, {planned}, got {text!r}.")
    value, said = _number(told, found["number"]), found["unit"].strip()
    norm = (found["norm"] or "linf").lower().replace("-", "")
    in_network_units = bool(found["eps"]) or not (unit or said)
    if not in_network_units and not said:
        raise ValueError(f"{told} must say the radius' unit, as in {value:g} {unit} or eps {value:g}.")
    if said and (found["eps"] or said.lower().rstrip("s") != unit.lower().rstrip("s")):
        raise ValueError(
            f"{told} must be in the unit of the images, {unit or 'which has no name here'}, or in network "
            f"units, as in eps 0.02; got {said!r}."
        )
    for row in rows:
        radius = row.eps if in_network_units else row.eps_input
        if radius is not None and math.isclose(radius, value, rel_tol=NEAR) and (row.norm or "linf") == norm:
            return row
    raise ValueError(f"{told} must name a radius of the plan, {planned}, got {text!r}.")


def _radius_text(row: RowKey, unit: str) -> str:
    norm = "" if row.norm in (None, "linf") else f" in {row.norm.replace('l', 'L')}"
    network = f"eps {row.eps:g}" if row.eps is not None else ""
    return (f"{row.eps_input:g} {unit} ({network})" if unit and row.eps_input is not None else network) + norm


def judge(criteria: Sequence[Criterion], groups: Sequence[Group]) -> list[Verdict]:
    """Whether every criterion is met; what cannot be told is not.

    Args:
        criteria: as from `parse_criteria`.
        groups: records by row, of complete cases.
    """
    fair = [group for group in groups if group.row.setting not in NOT_WITHIN]
    return [_verdict(criterion, fair) for criterion in criteria]


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
    slack = ROUNDING * max(1.0, abs(criterion.threshold)) * (1 if criterion.higher_is_better else -1)
    met = value is not None and SIGNS[criterion.sign](value + slack * criterion.sign.endswith("="), criterion.threshold)
    cases, patients = (0, 0) if worst is None else (worst.cases, worst.patients)
    of = f"{criterion.end} of the worst-case mean" if criterion.end else "worst-case mean"
    return Verdict(criterion.text, of, value, criterion.threshold, met, why, cases, patients)


def _figure(criterion: Criterion, worst: WorstCase | None) -> tuple[float | None, str]:
    """What is compared, or why it cannot be told."""
    if worst is None or worst.mean is None:
        return None, f"no case has {criterion.metric} at this radius"
    if not criterion.end:
        return worst.mean, ""
    if worst.interval is None:
        return None, f"no interval is printed of these {worst.patients} patients"
    return worst.interval[ENDS[criterion.end]], ""
