"""What a record keeps of a certificate: made of the deployed pipeline's figures of all draws."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from statistics import median
from typing import Any

import torch

from monai_smia.analysis.critical_radius import SHARE
from monai_smia.attacks import SmoothedShift
from monai_smia.certificates.median import CONFIDENCE as SURE
from monai_smia.certificates.median import certified_range, is_broken, median_bound
from monai_smia.records.certificate import BOUND, BROKEN, CENTER, FARTHEST, RANGE, REACH
from monai_smia.records.shift import CONFIDENCE, DRAWS, SIGMA
from monai_smia.shifts import Shift
from monai_smia.shifts.smoothed import from_normal

BOX = 1.0  # the distance of its end, in the unit of the draws


def certificate_facts(
    attack: SmoothedShift,
    values: Sequence[float | None],
    clean: float | None,
    *,
    higher_is_better: bool,
    dims: int,
) -> dict[str, Any]:
    """Certified bound and range, and where an attack on the median has broken it.

    Half of what is right on the clean image is what the range is of. A value that is undefined counts as the worst.

    Args:
        attack: that drew.
        values: the headline metric at every draw, those around nothing first.
        clean: the same of the clean image.
        higher_is_better: whether a victim is better with more of it.
        dims: axes of the image.
    """
    worst = -inf if higher_is_better else inf
    known = [worst if value is None else value for value in values]
    center, around = known[: attack.draws], known[attack.draws :]
    centers = {
        distance: around[number * attack.probes : (number + 1) * attack.probes]
        for number, distance in enumerate(attack.distances)
    }
    limit = _limit(clean, higher_is_better)

    def kept(drawn: Sequence[float]) -> int:
        return sum((value >= limit) if higher_is_better else (value <= limit) for value in drawn)

    reached = certified_range(kept(center), len(center), attack.sigma)
    broken = [distance for distance, drawn in centers.items() if is_broken(kept(drawn), len(drawn))]
    medians = [median(center), *(median(drawn) for distance, drawn in centers.items() if distance <= BOX)]
    bound = median_bound(center, BOX, attack.sigma, higher_is_better=higher_is_better)
    return {
        BOUND: _finite(bound),
        RANGE: reached,
        REACH: reach_text(attack.shift, reached, dims),
        BROKEN: min(broken, default=None),
        CENTER: _finite(median(center)),
        FARTHEST: _finite(min(medians) if higher_is_better else max(medians)),
        DRAWS: attack.draws,
        SIGMA: attack.sigma,
        CONFIDENCE: SURE,
    }


def reach_text(shift: Shift, distance: float, dims: int) -> str:
    """A distance in the unit of every parameter, along it alone.

    Example:
        >>> from monai_smia.shifts import HUCalibration
        >>> reach_text(HUCalibration(severity=3), 0.5, 3)
        'offset 5 HU, slope 0.75 %'
    """
    end = from_normal(shift, torch.full((1, len(shift.neutral(dims))), distance), dims)[0]
    return shift.describe(end, dims)


def _limit(clean: float | None, higher_is_better: bool) -> float:
    right = 0.0 if clean is None else clean if higher_is_better else 1 - clean
    return SHARE * right if higher_is_better else 1 - SHARE * right


def _finite(value: float | None) -> float | None:
    return None if value is None or abs(value) == inf else value
