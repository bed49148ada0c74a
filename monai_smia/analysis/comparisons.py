"""Comparisons of a report: attacks case by case, cases and strata with each other, pictures worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_smia.analysis.statistics import Interval, paired_difference, samples_of, worst_case
from monai_smia.analysis.summary import Group
from monai_smia.records import COMPUTED, Primary, Record
from monai_smia.records.rows import EQUAL_RADIUS, PAPER

REFERENCE = "SMIA"  # the attack that the others of its radius are compared with


@dataclass(frozen=True)
class WorstCase:
    """The worst of all attacks within one radius, case by case."""

    eps: float | None
    eps_input: float | None
    norm: str | None
    mean: float | None
    interval: Interval
    cases: int
    won: dict[str, int]  # how often each row was the worst


@dataclass(frozen=True)
class CaseOutcome:
    """One case clean and under the worst attack within the smallest radius."""

    case: str
    patient: str
    strata: dict[str, str]
    clean: float | None
    worst: float
    difference: float | None
    by: str


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
    """Mean paired difference of two rows."""

    row: str
    minus: str
    difference: float | None
    interval: Interval
    cases: int


@dataclass(frozen=True)
class CaseValue:
    """A case with its value."""

    case: str
    value: float


@dataclass(frozen=True)
class Extreme:
    """The cases that an attack did most and least damage to."""

    row: str
    slug: str
    worst: CaseValue
    best: CaseValue


def computed(groups: Sequence[Group]) -> list[Group]:
    """The rows as they were computed, before any storage."""
    return [group for group in groups if group.stage == COMPUTED]


def worst_cases(groups: Sequence[Group], primary: Primary) -> list[WorstCase]:
    """Per radius, the smallest first: the worst of all attacks within it, case by case."""
    found = []
    for members in _by_radius(groups):
        row = members[0].row
        samples = {group.row.label: samples_of(group.records) for group in members}
        mean, won = worst_case(samples, primary.metric, lowest=primary.higher_is_better)
        found.append(WorstCase(row.eps, row.eps_input, row.norm, mean.value, mean.interval, mean.cases, won))
    return found


def every_case(groups: Sequence[Group], primary: Primary) -> list[CaseOutcome]:
    """Every case clean and under the worst attack within the smallest radius, the most damaged first."""
    radii = _by_radius(groups)
    clean = {r.case: r for group in computed(groups) if group.row.is_clean for r in group.records}
    worst: dict[str, tuple[float, Record]] = {}
    for group in radii[0] if radii else []:
        for record in group.records:
            value, before = record.number(primary.metric), worst.get(record.case)
            if value is None or (before and not _is_worse(value, before[0], primary)):
                continue
            worst[record.case] = (value, record)
    found = []
    for case, (value, record) in worst.items():
        was = clean[case].number(primary.metric) if case in clean else None
        change = None if was is None else value - was
        found.append(CaseOutcome(case, record.patient, record.strata, was, value, change, record.row.label))
    return sorted(found, key=lambda outcome: outcome.worst, reverse=not primary.higher_is_better)


def strata_of(cases: Sequence[CaseOutcome]) -> list[Stratum]:
    """Means over the cases of every stratum (voxel spacing, scanner, ...), where the cases are of more than one.

    Args:
        cases: as from `every_case`.

    Example:
        >>> cases = [CaseOutcome(str(i), "p", {"kernel": k}, 0.9, 0.5, -0.4, "BIM") for i, k in enumerate("aab")]
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
    """Every attack against the clean images and against SMIA at equal radius, case by case."""
    rows = computed(groups)
    clean = next((group for group in rows if group.row.is_clean), None)
    smia = {g.row.eps: g for g in rows if (g.row.attack, g.row.setting) == (REFERENCE, EQUAL_RADIUS)}
    found = []
    for group in rows:
        if group.row.is_clean:
            continue
        reference = None if group.row.setting == PAPER else smia.get(group.row.eps)
        for other in (clean, reference):
            if other is not None and other is not group:
                mean = paired_difference(samples_of(group.records), samples_of(other.records), metric)
                found.append(Difference(group.row.label, other.row.label, mean.value, mean.interval, mean.cases))
    return found


def extremes(groups: Sequence[Group], primary: Primary) -> list[Extreme]:
    """Of every attack the case with the most and the one with the least damage, the first ones of equals."""
    found = []
    for group in computed(groups):
        known = [
            CaseValue(r.case, r.metrics[primary.metric]) for r in group.records if r.number(primary.metric) is not None
        ]
        if known and not group.row.is_clean:
            lowest, highest = (pick(known, key=lambda case: case.value) for pick in (min, max))
            worst, best = (lowest, highest) if primary.higher_is_better else (highest, lowest)
            found.append(Extreme(group.row.label, group.row.slug, worst, best))
    return found


def _is_worse(value: float, than: float, primary: Primary) -> bool:
    return value < than if primary.higher_is_better else value > than


def _by_radius(groups: Sequence[Group]) -> list[list[Group]]:
    """Attacks by eps, eps in the image's unit and norm, the smallest radius first."""
    radii: dict[tuple[float | None, float | None, str | None], list[Group]] = {}
    for group in computed(groups):
        if not group.row.is_clean:
            radii.setdefault((group.row.eps, group.row.eps_input, group.row.norm), []).append(group)
    return [radii[key] for key in sorted(radii, key=lambda key: (key[0] or 0.0, key[2] or ""))]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
