"""From records to figures: summary, statistics, comparisons, flags, survival."""

from __future__ import annotations

from collections.abc import Sequence

from monai_smia.analysis.certificates import certificate_flags, certificates_of
from monai_smia.analysis.critical_radius import SHARE, critical_radii
from monai_smia.analysis.flags import flags_of
from monai_smia.analysis.headline import has_converged, headline_of
from monai_smia.analysis.shifts import shift_gaps
from monai_smia.analysis.summary import failed_cases, groups_of, shift_groups_of, summarize
from monai_smia.analysis.survival import add_recovered
from monai_smia.metrics import CaseMetrics
from monai_smia.records import Failure, Outcome, Primary, Record, Summary
from monai_smia.records.summary import TOLERANCE

__all__ = [
    "add_recovered",
    "converged",
    "flags_of",
    "groups_of",
    "headline_of",
    "summarize",
    "summary_of",
]


def summary_of(
    outcomes: Sequence[Outcome],
    metrics: CaseMetrics,
    *,
    cases: int,
    unit: str = "",
    tolerance: float = TOLERANCE,
    share: float = SHARE,
) -> Summary:
    """The whole summary of an evaluation.

    Args:
        outcomes: of all cases, as `monai_smia.records.read_records` reads them.
        metrics: of the task.
        cases: how many there are.
        unit: unit of the images.
        tolerance: what the headline may move by while gradients double and still count as converged.
        share: of what is right on the clean image that is left at the critical radius.
    """
    groups = groups_of(outcomes)
    clean = [record for group in groups if group.row.is_clean for record in group.records]
    rows = summarize(outcomes, metrics.summary, with_intervals=True, shares=metrics.shares)
    add_recovered(rows, metrics.primary)
    shifts = shift_groups_of(outcomes)
    certificates = certificates_of(shifts, Primary.of(metrics))
    return Summary(
        rows=rows,
        flags=[*flags_of(groups), *certificate_flags(certificates)],
        failures=[outcome for outcome in outcomes if isinstance(outcome, Failure)],
        cases=cases,
        evaluated=cases - len(failed_cases(outcomes)),
        unit=unit,
        seconds=sum(outcome.costs.seconds or 0.0 for outcome in outcomes if isinstance(outcome, Record)),
        headline=headline_of(groups, rows, Primary.of(metrics), tolerance),
        critical_radii=critical_radii(groups, share),
        shifts=shift_gaps(shifts, Primary.of(metrics), clean),
        certificates=certificates,
    )


def converged(outcomes: Sequence[Outcome], metrics: CaseMetrics, tolerance: float = TOLERANCE) -> bool:
    """Whether the last doubling of the gradients moved the headline by less than the tolerance, at every radius."""
    rows = summarize(outcomes, metrics.summary)
    return has_converged(headline_of(groups_of(outcomes), rows, Primary.of(metrics), tolerance))
