"""The figures of an evaluation that matter most: clean, under noise and under attack, at every radius."""

from __future__ import annotations

from collections.abc import Sequence

from monai_smia.analysis.comparisons import WorstCase, worst_cases
from monai_smia.analysis.summary import Group
from monai_smia.records import COMPUTED, Primary, SummaryRow
from monai_smia.records.summary import AtRadius, Headline

NOISE = "Noise"  # the control


def headline_of(groups: Sequence[Group], rows: Sequence[SummaryRow], primary: Primary) -> Headline | None:
    """The headline.

    Args:
        groups: records by row.
        rows: of the summary.
        primary: headline metric of the task.

    Returns:
        None where nothing attacked.
    """
    of_rows = primary.among(row.metrics for row in rows)
    of_cases = primary.among(record.metrics for group in groups for record in group.records)
    known = [row for row in rows if row.stage == COMPUTED and row.value(of_rows.metric) is not None]
    worst = worst_cases(groups, of_cases)
    if not worst:
        return None
    clean = next((row.value(of_rows.metric) for row in known if row.row.is_clean), None)
    by_case = of_cases == of_rows
    radii = [_at_radius(known, each, of_rows, by_case=by_case) for each in worst]
    return Headline(of_rows.metric, clean, by_case, radii)


def _at_radius(rows: Sequence[SummaryRow], worst: WorstCase, primary: Primary, *, by_case: bool) -> AtRadius:
    within = [row for row in rows if (row.row.eps, row.row.norm) == (worst.eps, worst.norm)]
    noise = next((row.value(primary.metric) for row in within if row.row.attack == NOISE), None)
    attacked, interval, cases = worst.mean, worst.interval, worst.cases
    if not by_case:
        values = {row.metrics[primary.metric] or 0.0: row for row in within}
        attacked = (min if primary.higher_is_better else max)(values, default=None)
        strongest = None if attacked is None else values[attacked]
        interval = None if strongest is None else strongest.interval(primary.metric)
        cases = 0 if strongest is None else strongest.cases
    return AtRadius(worst.eps, worst.eps_input, worst.norm, noise, attacked, interval, cases)
