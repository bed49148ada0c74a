"""Acquisition shifts over all cases: on average, at their worst, and the gap between."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from scipy.stats import binom

from monai_smia.analysis.certificates import is_certificate
from monai_smia.analysis.statistics import Sample, mean_of
from monai_smia.analysis.summary import Group
from monai_smia.records import Primary, Record
from monai_smia.records.damage import CLEAN_DAMAGE, DAMAGE
from monai_smia.records.rows import EVERY_VALUE
from monai_smia.records.shift import AVERAGE, DRAW_VALUES, LATTICE, SEVERITY, TOLD, ShiftGap

SHARE = CONFIDENCE = 0.95  # "95 % of draws, with 95 % confidence", from 59 draws on
CHANGES = "volume_change_"


def shift_gaps(groups: Sequence[Group], primary: Primary, clean: Sequence[Record] = ()) -> list[ShiftGap]:
    """One gap for each row of a shift.

    Args:
        groups: of shifts, as `monai_smia.analysis.summary.shift_groups_of` gives them.
        primary: headline metric of the task.
        clean: records of the clean images.
    """
    known = {record.case: record for record in clean}
    return [_gap(group, primary, known) for group in groups if not is_certificate(group)]


def _gap(group: Group, primary: Primary, clean: dict[str, Record]) -> ShiftGap:
    of_cases = primary.among(record.metrics for record in group.records)
    name, up = of_cases.metric, of_cases.higher_is_better

    def mean(metric: str) -> tuple[float | None, list[float] | None]:
        samples = [Sample(r.case, r.patient, {metric: r.number(metric)}) for r in group.records]
        found = mean_of(samples, metric)
        return found.value, found.interval

    worst, average = mean(name), mean(f"{AVERAGE}{name}")
    known = [record for record in group.records if record.number(name) is not None]
    lowest = min(known, key=lambda r: r.metrics[name] if up else -r.metrics[name], default=None)
    bounds = [kept_by(record.number(DRAW_VALUES) or [], higher_is_better=up) for record in group.records]
    shares = [share for _, share in bounds if share is not None]
    values = [value for value, _ in bounds if value is not None]
    every = group.row.setting.startswith(EVERY_VALUE)
    before = [_clean(record, clean.get(record.case), name) for record in group.records]
    changes = sorted({key for record in group.records for key in record.metrics if key.startswith(CHANGES)})
    return ShiftGap(
        shift=group.row.attack,
        severity=int(group.records[0].metrics[SEVERITY]),
        every_value=every,
        metric=name,
        higher_is_better=up,
        clean=_mean([value for value in before if value is not None]),
        average=average[0],
        worst=worst[0],
        average_interval=average[1],
        worst_interval=worst[1],
        cases=len(group.records),
        patients=len({record.patient for record in group.records}),
        draws=min(len(record.number(DRAW_VALUES) or []) for record in group.records),
        lowest=None if lowest is None else lowest.metrics[name],
        kept=None if every or not values else (min if up else max)(values),
        kept_share=None if every or not shares else min(shares),
        case="" if lowest is None else lowest.case,
        told="" if lowest is None else str(lowest.metrics[TOLD]),
        slug=group.row.slug,
        gradients=_mean([float(record.costs.gradients or 0) for record in group.records]),
        lattice=str(group.records[0].metrics.get(LATTICE) or ""),
        changes={key: [mean(f"{AVERAGE}{key}")[0], mean(key)[0]] for key in changes},
    )


def _clean(record: Record, clean: Record | None, name: str) -> float | None:
    if name == DAMAGE:
        value = record.number(CLEAN_DAMAGE)
    else:
        value = None if clean is None else clean.number(name)
    return value if isinstance(value, float) else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def kept_by(
    values: Sequence[float | None], *, higher_is_better: bool = True, share: float = SHARE
) -> tuple[float | None, float | None]:
    """A value that a share of all draws keep, with 95 % confidence, whatever their distribution; and that share.

    The worst of n independent draws is exceeded by more than a share p of the distribution with probability at most
    ``p ** n``: 59 draws say .95 (Wilks, 1941). Of more draws as many of the worst are passed over as the binomial
    distribution allows; of fewer the share is the one that they can say.

    Args:
        values: of independent draws; one that is undefined leaves nothing to say.
        higher_is_better: whether draws keep at least the value, or at most.
        share: of the draws, where they are enough.

    Returns:
        The value and the share; None where nothing can be said.

    Example:
        >>> kept_by([0.9] * 58 + [0.7]), round(kept_by([0.9, 0.8])[1], 3)
        ((0.7, 0.95), 0.224)
    """
    known = [float(value) for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None
    count = len(known)
    ranked = sorted(known, reverse=not higher_is_better)
    spared = _spared(count, share)
    if spared == 0:
        return ranked[0], float((1 - CONFIDENCE) ** (1 / count))
    return ranked[spared - 1], share


@functools.cache
def _spared(count: int, share: float) -> int:
    """How many of the worst draws; fewer lie in the worse 5 % of the distribution with a probability of 5 % at most."""
    spared = 0
    while binom.cdf(spared, count, 1 - share) <= 1 - CONFIDENCE:
        spared += 1
    return spared


def relative_corruption_error(gaps: Sequence[ShiftGap], reference: Sequence[ShiftGap]) -> float | None:
    """What shifts cost on average, over what they cost a reference network (Hendrycks & Dietterich, ICLR 2019, Eq. 2).

    The mean over shifts of the drop from clean to average, over the reference's; 1 is as much as the reference.

    Args:
        gaps: of the network, at all severities that are to count.
        reference: of the other, on the same cases.

    Returns:
        None where a drop is not known, or the reference does not lose anything to a shift.
    """
    theirs = {(gap.shift, gap.severity): gap.drop for gap in reference}
    names = list(dict.fromkeys(gap.shift for gap in gaps if not gap.every_value))
    ratios = []
    for name in names:
        pairs = [(gap.drop, theirs.get((name, gap.severity))) for gap in gaps if gap.shift == name]
        if any(ours is None or other is None for ours, other in pairs):
            return None
        below = sum(other or 0.0 for _, other in pairs)
        if below <= 0:
            return None
        ratios.append(sum(ours or 0.0 for ours, _ in pairs) / below)
    return _mean(ratios)
