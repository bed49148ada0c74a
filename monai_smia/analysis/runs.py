"""Finished evaluations beside each other: models, or states of one, on the same cases."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from monai_smia.analysis.radii import computed, smaller_than
from monai_smia.analysis.statistics import Sample, holm, paired_difference, samples_of, worst_case
from monai_smia.analysis.summary import Group
from monai_smia.records import EvaluationSpec, Primary, Record, RowKey, Summary
from monai_smia.records.rows import CRITICAL_RADIUS
from monai_smia.records.summary import Interval
from monai_smia.units import in_unit

CLEAN, WORST = "clean", "worst"
Radius = tuple[float | None, str | None]  # in the unit of the images, and its norm


@dataclass(frozen=True)
class Run:
    """A finished evaluation.

    Args:
        name: what it is called by beside others.
        spec: what was planned.
        summary: what was found.
        groups: its records by row.
    """

    name: str
    spec: EvaluationSpec
    summary: Summary
    groups: Sequence[Group]

    @property
    def primary(self) -> Primary:
        """The headline metric of single cases."""
        return self.spec.primary.among(record.metrics for group in self.groups for record in group.records)

    @property
    def records(self) -> list[Record]:
        """All records as computed."""
        return [record for group in computed(self.groups) for record in group.records]

    @property
    def radii(self) -> list[Radius]:
        """Radii in the unit of the images with their norms, the smallest first."""
        rows = {(g.row.eps_input, g.row.norm) for g in computed(self.groups) if _attacks(g.row)}
        return sorted(rows, key=lambda radius: (radius[1] or "", radius[0] or 0.0))

    def clean(self) -> list[Sample]:
        """The clean images."""
        return [s for group in computed(self.groups) if group.row.is_clean for s in samples_of(group.records)]

    def worst(self, radius: Radius) -> list[Sample]:
        """Every case under the attack that leaves least of it within a radius."""
        rows = {group.row.label: samples_of(group.records) for group in self._within(radius)}
        _, by = worst_case(rows, self.primary.metric, lowest=self.primary.higher_is_better)
        return [next(s for s in rows[labels[0]] if s.case == case) for case, labels in by.items()]

    def gradients(self, radius: Radius | None = None) -> float:
        """Gradients of a case, of all attacks within a radius together, or of all radii.

        Of a radius without those of a search for the critical one, which goes on where it succeeds and ends where not.
        """
        groups = self._attacks() if radius is None else self._within(radius)
        counted = [group for group in groups if radius is None or group.row.setting != CRITICAL_RADIUS]
        taken = [record.costs.gradients or 0 for group in counted for record in group.records]
        return sum(taken) / max(len({record.case for record in self.records}), 1)

    def _attacks(self) -> list[Group]:
        return [group for group in computed(self.groups) if group.row.is_bounded and not group.row.is_clean]

    def _within(self, radius: Radius) -> list[Group]:
        attacks = self._attacks()
        own = [group for group in attacks if group.row.is_within and (group.row.eps_input, group.row.norm) == radius]
        return [*own, *smaller_than(own, attacks)]


@dataclass(frozen=True)
class RunDifference:
    """The mean of one run minus that of another over the cases of both, pair by pair.

    Args:
        run, minus: names of the runs.
        at: `CLEAN` or `WORST`.
        eps_input, norm: the radius; None of clean images.
        difference: of the headline metric of single cases.
        interval: of 95 %, by patient; None where there is none.
        cases, patients: how many both have.
        p: of no difference; `p_adjusted` is for all comparisons (Holm).
    """

    run: str
    minus: str
    at: str
    eps_input: float | None
    norm: str | None
    difference: float | None
    interval: Interval
    cases: int
    patients: int
    p: float | None
    p_adjusted: float | None = None


def run_differences(runs: Sequence[Run]) -> list[RunDifference]:
    """Every run minus the first one: on clean images, and under the worst attack at every radius that both have.

    Raises:
        ValueError: if two runs have another metric or unit, or a case of one name is another image in them.
    """
    first, *others = runs
    found = []
    for other in others:
        check_alike(first, other)
        metric = first.primary.metric
        pairs: list[tuple[str, Radius, list[Sample], list[Sample]]] = [
            (CLEAN, (None, None), other.clean(), first.clean())
        ]
        common = [radius for radius in first.radii if radius in other.radii]
        pairs += [(WORST, radius, other.worst(radius), first.worst(radius)) for radius in common]
        for at, (eps, norm), samples, before in pairs:
            mean = paired_difference(samples, before, metric)
            told = (mean.value, mean.interval, mean.cases, mean.patients, mean.p)
            found.append(RunDifference(other.name, first.name, at, eps, norm, *told))
    adjusted = holm([each.p for each in found])
    return [replace(each, p_adjusted=p) for each, p in zip(found, adjusted, strict=True)]


def check_alike(first: Run, second: Run) -> None:
    """Whether two runs can be paired.

    Raises:
        ValueError: if not.
    """
    for what, one, two in (
        ("headline metric", first.primary.metric, second.primary.metric),
        ("unit of the images", first.spec.unit, second.spec.unit),
    ):
        if one != two:
            raise ValueError(f"{first.name} and {second.name} have another {what}: {one!r} and {two!r}.")
    inputs = [
        {r.case: r.provenance.input_sha256 for r in run.records if r.provenance is not None} for run in (first, second)
    ]
    for case in inputs[0].keys() & inputs[1].keys():
        if inputs[0][case] != inputs[1][case]:
            raise ValueError(f"{case} is another image or label in {second.name} than in {first.name}: no pair.")


def other_cases(runs: Sequence[Run]) -> list[str]:
    """Where two runs are not of the same cases, so that their means are not of the same either, in sentences.

    Args:
        runs: all of them; those behind the first are looked at beside it.
    """
    first, *others = runs
    told = []
    for other in others:
        cases = [{record.case for record in run.records} for run in (first, other)]
        both, own = len(cases[0] & cases[1]), [len(cases[0] - cases[1]), len(cases[1] - cases[0])]
        if any(own):
            paired = f"differences are of the {both} that both have" if both else "there is no difference to tell"
            told.append(
                f"{first.name} has {own[0]} case{'' if own[0] == 1 else 's'} that {other.name} has not, {other.name} "
                f"{own[1]} that {first.name} has not: their means are not of the same cases, and {paired}."
            )
    return told


def uneven(runs: Sequence[Run], most: float = 1.1) -> list[str]:
    """Where two runs were not attacked alike at one radius, so that the one with fewer gradients may read as safer.

    Args:
        runs: all of them.
        most: gradients of one by those of the other that are still alike.
    """
    told = []
    for one, two in itertools.combinations(runs, 2):
        for radius in (radius for radius in one.radii if radius in two.radii):
            (few, less), (many, more) = sorted((r.gradients(radius), r.name) for r in (one, two))
            if many > most * few:
                at = in_unit(radius[0], one.spec.unit)
                told.append(
                    f"At {at} {less} was attacked with {few:.0f} gradients a case, {more} with {many:.0f}: "
                    "the one with fewer may read as safer than it is."
                )
    return told


def _attacks(row: RowKey) -> bool:
    """Whether a row is an attack that stays within its radius."""
    return row.is_within and not row.is_clean
