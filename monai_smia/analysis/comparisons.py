"""Comparisons of a report: attacks case by case, cases and strata with each other, pictures worth a look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from monai_smia.analysis.radii import by_radius, computed
from monai_smia.analysis.statistics import Interval, holm, paired_difference, samples_of, worst_case
from monai_smia.analysis.summary import Group, without_earlier_rounds
from monai_smia.records import Primary, Record
from monai_smia.records.damage import ADDED_DAMAGE
from monai_smia.records.rows import EQUAL_RADIUS

REFERENCE = "SMIA"  # the attack that the others of its radius are compared with


@dataclass(frozen=True)
class WorstCase:
    """The worst of all attacks within one radius, case by case.

    Args:
        eps, eps_input, norm: the radius.
        mean: of the worst values of all cases.
        interval: of it.
        cases: how many.
        won: how often each row was the worst of a case that it changed for the worse; rows that share a case all count,
            those of smaller radii where none of this radius did as much.
        patients: whose the cases are.
        listed: means of the patients, where they are too few for an interval.
        wrong_when_clean: cases of which the clean image left nothing to break: no attack's success.
        unbroken: cases that no attack changed for the worse.
    """

    eps: float | None
    eps_input: float | None
    norm: str | None
    mean: float | None
    interval: Interval
    cases: int
    won: dict[str, int]
    patients: int
    listed: list[float]
    wrong_when_clean: int
    unbroken: int


@dataclass(frozen=True)
class CaseOutcome:
    """One case clean and under the worst attack within the smallest radius.

    Args:
        case: its name.
        patient: whose it is.
        strata: what it is grouped by.
        clean, worst: the metric.
        difference: of both.
        by: the rows that reach the worst value, all of them; none where nothing was broken.
        added_damage: the most that an attack added.
        wrong_when_clean: whether the clean image left nothing to break.
    """

    case: str
    patient: str
    strata: dict[str, str]
    clean: float | None
    worst: float
    difference: float | None
    by: list[str]
    added_damage: float | None
    wrong_when_clean: bool


@dataclass(frozen=True)
class Stratum:
    """Means over the cases of one stratum."""

    name: str
    value: str
    cases: int
    clean: float | None
    worst: float | None


@dataclass(frozen=True)
class Difference:
    """Mean paired difference of two rows; `p_adjusted` is for all comparisons of the table (Holm)."""

    row: str
    minus: str
    difference: float | None
    interval: Interval
    cases: int
    patients: int
    p: float | None
    p_adjusted: float | None = None


@dataclass(frozen=True)
class CaseValue:
    """A case with its value."""

    case: str
    value: float


@dataclass(frozen=True)
class Extreme:
    """The cases that an attack did most and least damage to; no worst one where it broke none."""

    row: str
    slug: str
    worst: CaseValue | None
    best: CaseValue | None


def damage_done(record: Record, primary: Primary) -> tuple[float, float] | None:
    """What cases are sorted by, most damage last: what was added by the attack, then the metric.

    Returns:
        None where the metric is not known, or the clean image left nothing to break.
    """
    value = record.number(primary.metric)
    if value is None or record.wrong_when_clean:
        return None
    worse = -value if primary.higher_is_better else value
    added = record.number(ADDED_DAMAGE)
    return (worse if added is None else added), worse


def is_broken(record: Record, primary: Primary) -> bool:
    """Whether an attack has changed the decision on a case for the worse."""
    added = record.number(ADDED_DAMAGE)
    return damage_done(record, primary) is not None and (added is None or added > 0)


def worst_cases(groups: Sequence[Group], primary: Primary, *, nested: bool = True) -> list[WorstCase]:
    """Per radius, the smallest first: the worst of all attacks within it, case by case.

    What an attack has done within a smaller radius it has done within this one, too.

    Args:
        groups: records by row.
        primary: the metric.
        nested: False leaves out what was not run at the radius itself.
    """
    found = []
    for within in by_radius(groups):
        row, members = within.row, within.groups if nested else within.own
        records = {(group.row.label, record.case): record for group in members for record in group.records}
        samples = {group.row.label: samples_of(group.records) for group in members}
        mean, reached = worst_case(samples, primary.metric, lowest=primary.higher_is_better)
        by = {case: within.preferred(labels) for case, labels in reached.items()}
        broke = {
            case: [label for label in rows if is_broken(records[label, case], primary)] for case, rows in by.items()
        }
        won = {group.row.label: 0 for group in within.own} | Counter(chain.from_iterable(broke.values()))
        wrong = {case for case, rows in by.items() if records[rows[0], case].wrong_when_clean}
        found.append(
            WorstCase(
                row.eps,
                row.eps_input,
                row.norm,
                mean.value,
                mean.interval,
                mean.cases,
                won,
                patients=mean.patients,
                listed=mean.listed,
                wrong_when_clean=len(wrong),
                unbroken=sum(not rows and case not in wrong for case, rows in broke.items()),
            )
        )
    return found


def every_case(groups: Sequence[Group], primary: Primary) -> list[CaseOutcome]:
    """Every case clean and under the worst attack within the smallest radius, the most damaged first."""
    radii = by_radius(groups)
    clean = {r.case: r for group in computed(groups) if group.row.is_clean for r in group.records}
    worst: dict[str, list[Record]] = {}
    for group in radii[0].groups if radii else []:
        for record in group.records:
            value, before = record.number(primary.metric), worst.get(record.case)
            if value is None or (before and _is_worse(before[0].metrics[primary.metric], value, primary)):
                continue
            tied = before is not None and before[0].metrics[primary.metric] == value
            worst[record.case] = [*before, record] if before and tied else [record]
    found = []
    for case, records in worst.items():
        value = records[0].metrics[primary.metric]
        was = clean[case].number(primary.metric) if case in clean else None
        found.append(
            CaseOutcome(
                case,
                records[0].patient,
                records[0].strata,
                was,
                value,
                None if was is None else value - was,
                radii[0].preferred([record.row.label for record in records if is_broken(record, primary)]),
                max((a for r in records if (a := r.number(ADDED_DAMAGE)) is not None), default=None),
                records[0].wrong_when_clean,
            )
        )

    def done(outcome: CaseOutcome) -> tuple[bool, float, float]:
        worse = -outcome.worst if primary.higher_is_better else outcome.worst
        added = worse if outcome.added_damage is None else outcome.added_damage
        return not outcome.wrong_when_clean, added, worse

    return sorted(found, key=done, reverse=True)


def strata_of(cases: Sequence[CaseOutcome]) -> list[Stratum]:
    """Means over the cases of every stratum (voxel spacing, scanner, ...), where the cases are of more than one.

    Args:
        cases: as from `every_case`.

    Example:
        >>> told = (0.9, 0.5, -0.4, ["BIM"], 0.4, False)
        >>> cases = [CaseOutcome(str(i), "p", {"kernel": kernel}, *told) for i, kernel in enumerate("aab")]
        >>> [(stratum.value, stratum.cases) for stratum in strata_of(cases)]
        [('a', 2), ('b', 1)]
    """
    found: dict[tuple[str, str], list[CaseOutcome]] = {}
    for case in cases:
        for name, value in case.strata.items():
            found.setdefault((name, value), []).append(case)
    names = [name for name, _ in found]
    return [
        Stratum(name, value, len(members), _mean([c.clean for c in members]), _mean([c.worst for c in members]))
        for (name, value), members in sorted(found.items())
        if names.count(name) > 1
    ]


def differences(groups: Sequence[Group], metric: str) -> list[Difference]:
    """Every attack of the last round against the clean images and SMIA at equal radius and norm, case by case."""
    rows = computed(without_earlier_rounds(groups))
    clean = next((group for group in rows if group.row.is_clean), None)
    smia = {(g.row.eps, g.row.norm): g for g in rows if (g.row.attack, g.row.setting) == (REFERENCE, EQUAL_RADIUS)}
    found = []
    for group in rows:
        if group.row.is_clean:
            continue
        reference = smia.get((group.row.eps, group.row.norm)) if group.row.is_within else None
        for other in (clean, reference):
            if other is not None and other is not group:
                mean = paired_difference(samples_of(group.records), samples_of(other.records), metric)
                told = (mean.value, mean.interval, mean.cases, mean.patients, mean.p)
                found.append(Difference(group.row.label, other.row.label, *told))
    adjusted = holm([each.p for each in found])
    return [replace(each, p_adjusted=p) for each, p in zip(found, adjusted, strict=True)]


def extremes(groups: Sequence[Group], primary: Primary) -> list[Extreme]:
    """Of every attack the case with the most and the one with the least damage added, the first ones of equals.

    Of a plan in rounds, those of its last.
    """
    found = []
    for group in computed(without_earlier_rounds(groups)):
        known = [(done, record) for record in group.records if (done := damage_done(record, primary)) is not None]
        if not known or group.row.is_clean:
            continue
        most, least = (pick(known, key=lambda pair: pair[0])[1] for pick in (max, min))
        worst = CaseValue(most.case, most.metrics[primary.metric]) if is_broken(most, primary) else None
        best = CaseValue(least.case, least.metrics[primary.metric])
        found.append(Extreme(group.row.label, group.row.slug, worst, best))
    return found


def _is_worse(value: float, than: float, primary: Primary) -> bool:
    return value < than if primary.higher_is_better else value > than


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
