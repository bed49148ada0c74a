"""The summary of an evaluation, made of its records alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monai_smia.analysis.statistics import Mean, Shares, Summarize, intervals, mean_of, samples_of, share_samples
from monai_smia.metrics import means
from monai_smia.records import Failure, Outcome, Record, RowKey, Stage, SummaryRow

ENDS = ("_low", "_high")  # of an interval that a metric brings along


@dataclass(frozen=True)
class Group:
    """The records of one row at one stage, of all cases that did not fail.

    Args:
        row: the attack.
        stage: what had been done to the images.
        records: one per case.
    """

    row: RowKey
    stage: Stage
    records: list[Record]


def failed_cases(outcomes: Iterable[Outcome]) -> set[str]:
    """Cases that could not be evaluated."""
    return {outcome.case for outcome in outcomes if isinstance(outcome, Failure)}


def groups_of(outcomes: Sequence[Outcome]) -> list[Group]:
    """Records of complete cases by row and stage, in the order in which these first occur.

    A case that failed counts in no row, so that all rows are of the same cases. Acquisition shifts, which have no
    radius, are in `shift_groups_of`.
    """
    return [group for group in _every_group(outcomes) if not group.row.is_shift]


def shift_groups_of(outcomes: Sequence[Outcome]) -> list[Group]:
    """The rows of acquisition shifts, as `groups_of` has the others."""
    return [group for group in _every_group(outcomes) if group.row.is_shift]


def _every_group(outcomes: Sequence[Outcome]) -> list[Group]:
    groups: dict[tuple[RowKey, Stage], list[Record]] = {}
    failed = failed_cases(outcomes)
    for outcome in outcomes:
        if isinstance(outcome, Record) and outcome.case not in failed:
            groups.setdefault((outcome.row, outcome.stage), []).append(outcome)
    return [Group(row, stage, records) for (row, stage), records in groups.items()]


def last_round(groups: Iterable[Group]) -> int | None:
    """The round that a plan whose gradients are doubled has come to; None where there are no rounds."""
    return max((group.row.round for group in groups if group.row.round is not None), default=None)


def up_to_round(groups: Iterable[Group], number: int) -> list[Group]:
    """The rows of a plan's first rounds, and those of none."""
    return [group for group in groups if (group.row.round or 0) <= number]


def without_earlier_rounds(groups: Sequence[Group]) -> list[Group]:
    """The rows of a plan's last round, and those of none: earlier ones say the same with fewer gradients."""
    last = last_round(groups)
    return [group for group in groups if group.row.round in (None, last)]


def summarize(
    outcomes: Sequence[Outcome],
    summary: Summarize = means,
    *,
    with_intervals: bool = False,
    shares: Shares | None = None,
) -> list[SummaryRow]:
    """One row per attack, setting, radius and stage: means over cases, and what the task's metrics say of them.

    A metric that is undefined for a case (None) is left out of its mean, which then names its n; None where it is
    undefined for all.

    Args:
        outcomes: of all cases.
        summary: of the values of one row's cases, as `monai_smia.metrics.CaseMetrics.summary`; what it says replaces
            the plain mean of the same name.
        with_intervals: add intervals of 95 % by patient.
        shares: what counts cases in that summary, as `monai_smia.metrics.CaseMetrics.shares`.

    Returns:
        The rows in the order in which they first occur.

    Example:
        >>> from monai_smia.records import COMPUTED
        >>> records = [Record(RowKey("BIM"), COMPUTED, c, metrics={"jaccard": v}) for c, v in (("a", 0.1), ("b", 0.3))]
        >>> [round(row.value("jaccard"), 3) for row in summarize(records)]
        [0.2]
    """
    rows = []
    for group in groups_of(outcomes):
        values = [record.measured() for record in group.records]
        row = SummaryRow(
            group.row,
            group.stage,
            cases=len(group.records),
            metrics={**means(values), **means(values, ("gradients",)), **summary(values)},
            below_quantization=sum(record.below_quantization for record in group.records),
            patients=len({record.patient for record in group.records}),
            wrong_when_clean=sum(record.wrong_when_clean for record in group.records),
            unchanged=sum(record.unchanged for record in group.records),
        )
        found = _means_of(group, row, shares)
        row.known = {name: [mean.cases, mean.patients] for name, mean in found.items() if mean.cases < row.cases}
        row.listed = {name: mean.listed for name, mean in found.items() if mean.listed}
        if with_intervals:
            every = intervals(samples_of(group.records), summary, shares)
            row.intervals = {name: value for name, value in every.items() if not name.endswith(ENDS)}
            row.metrics |= _ends(row)
        rows.append(row)
    return rows


def _means_of(group: Group, row: SummaryRow, shares: Shares | None) -> dict[str, Mean]:
    """The means over cases and the shares of them that the row has, with their n."""
    found: dict[str, Mean] = {}
    for samples in (samples_of(group.records), share_samples(samples_of(group.records), shares)):
        floats = {name for sample in samples for name, value in sample.values.items() if isinstance(value, float)}
        found |= {name: mean_of(samples, name) for name in row.metrics if name in floats}
    return found


def _ends(row: SummaryRow) -> dict[str, float | None]:
    """The ends of intervals that a metric brings along, which takes cases for patients: those of the patients."""
    found: dict[str, float | None] = {}
    for name in row.metrics:
        for place, end in enumerate(ENDS):
            if name.endswith(end):
                interval = row.interval(name.removesuffix(end))
                found[name] = None if interval is None else interval[place]
    return found
