"""The figures of an evaluation that matter most: clean, under noise and under attack, at every radius."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from monai_smia.analysis.comparisons import WorstCase, worst_cases
from monai_smia.analysis.radii import computed, lies_within
from monai_smia.analysis.summary import Group, last_round, up_to_round
from monai_smia.records import COMPUTED, Primary, RowKey, SummaryRow
from monai_smia.records.rows import NO_KNOWLEDGE
from monai_smia.records.summary import TOLERANCE, AfterRound, AtRadius, Headline

NOISE = "Noise"  # the control


def headline_of(
    groups: Sequence[Group], rows: Sequence[SummaryRow], primary: Primary, tolerance: float = TOLERANCE
) -> Headline | None:
    """The headline; the paper's own setting, whose radius is that of all steps together, is not in it.

    Args:
        groups: records by row.
        rows: of the summary.
        primary: headline metric of the task.
        tolerance: what the figure may move by while the gradients double and still count as converged.

    Returns:
        None where nothing attacked.
    """
    found = _after(groups, rows, primary)
    if found is None:
        return None
    rounds = range(1, (last_round(groups) or 0) + 1)
    after = {number: _after(*_up_to(groups, rows, number), primary, nested=False) for number in rounds}
    radii = []
    for end in found.radii:
        curve = [_after_round(groups, part, end, number) for number, part in after.items() if part is not None]
        end = replace(end, rounds=curve)
        if len(curve) > 1:
            end = replace(end, converged=end.moved is not None and end.moved < tolerance)
        radii.append(end)
    return replace(found, radii=radii, tolerance=tolerance)


def has_converged(headline: Headline | None) -> bool:
    """Whether doubled gradients have left the figure where it was, at every radius."""
    return headline is not None and all(radius.converged for radius in headline.radii)


def _up_to(
    groups: Sequence[Group], rows: Sequence[SummaryRow], number: int
) -> tuple[Sequence[Group], Sequence[SummaryRow]]:
    return up_to_round(groups, number), [row for row in rows if (row.row.round or 0) <= number]


def _after_round(groups: Sequence[Group], part: Headline, end: AtRadius, number: int) -> AfterRound:
    """The figure of a radius' own attacks after a round, and the gradients that those of the round took together."""
    taken = [
        float(np.mean([record.costs.gradients or 0 for record in group.records]))
        for group in computed(groups)
        if group.row.round == number and (group.row.eps, group.row.norm) == (end.eps, end.norm)
    ]
    same = [radius for radius in part.radii if (radius.eps, radius.norm) == (end.eps, end.norm)]
    return AfterRound(number, sum(taken), same[0].attacked if same else None)


def _after(
    groups: Sequence[Group], rows: Sequence[SummaryRow], primary: Primary, *, nested: bool = True
) -> Headline | None:
    of_rows = primary.among(row.metrics for row in rows)
    of_cases = primary.among(record.metrics for group in groups for record in group.records)
    known = [row for row in rows if row.stage == COMPUTED and row.value(of_rows.metric) is not None]
    worst = worst_cases([group for group in groups if group.row.is_bounded], of_cases, nested=nested)
    if not worst:
        return None
    clean = next((row for row in known if row.row.is_clean), None)
    by_case = of_cases == of_rows
    radii = [_at_radius(known, each, of_rows, by_case=by_case, nested=nested) for each in worst]
    value = None if clean is None else clean.value(of_rows.metric)
    counts = [0, 0] if clean is None else clean.known.get(of_rows.metric, [clean.cases, clean.patients])
    return Headline(of_rows.metric, value, by_case, radii, counts[0], counts[1], of_rows.higher_is_better)


def _at_radius(
    rows: Sequence[SummaryRow], worst: WorstCase, primary: Primary, *, by_case: bool, nested: bool
) -> AtRadius:
    same = (worst.eps, worst.norm)
    within = [row for row in rows if (row.row.eps, row.row.norm) == same and row.row.is_within]
    noise = next((row.value(primary.metric) for row in within if row.row.attack == NOISE), None)
    most = max(worst.won.values(), default=0)
    by = [label for label, count in worst.won.items() if count == most > 0]
    own = [row.row.label for row in within if row.row.knowledge != NO_KNOWLEDGE]
    others = [label for label, count in worst.won.items() if count and label not in {row.row.label for row in within}]
    found = AtRadius(
        worst.eps,
        worst.eps_input,
        worst.norm,
        noise,
        worst.mean,
        worst.interval,
        worst.cases,
        worst.patients,
        own + others,
        by,
        worst.listed,
    )
    if by_case:
        return found
    here = RowKey(eps=worst.eps, norm=worst.norm)
    smaller = [row for row in rows if nested and lies_within(row.row, here)]
    values = [(row.metrics[primary.metric] or 0.0, row) for row in [*within, *smaller]]
    if not values:
        return replace(found, attacks=own, attacked=None, interval=None, cases=0, patients=0, by=[], listed=[])
    attacked = (min if primary.higher_is_better else max)(value for value, _ in values)
    reached = [row for value, row in values if value == attacked]
    strongest = [row for row in reached if row in within] or reached
    return replace(
        found,
        attacked=attacked,
        interval=strongest[0].interval(primary.metric),
        cases=strongest[0].cases,
        patients=strongest[0].patients,
        attacks=[*own, *(row.row.label for row in strongest if row not in within)],
        by=[row.row.label for row in strongest],
        listed=[],
    )
