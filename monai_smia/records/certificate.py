"""Certificates of shifts in records and ``summary.json``: what the median over draws keeps, and where it is broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BOUND = "certified_bound"  # what the median keeps wherever in the box its center lies; None where nothing is certified
RANGE = "certified_range"  # distance within which it keeps half of what is right, in units of the box
BROKEN = "broken_at"  # smallest distance at which an attack has seen that it does not; None where it has not
CENTER, FARTHEST = "median", "median_attacked"  # medians around nothing, and the worst around a point of the box
REACH = "certified_reach"  # the range in the unit of every parameter, as one says it


@dataclass(frozen=True)
class ShiftCertificate:
    """The certificate of one shift over all cases.

    Args:
        shift: its name.
        severity: how far its box reaches, 1 to 5.
        metric: the headline metric, of cases.
        higher_is_better: whether a victim is better with more of it.
        bound: mean over cases of what is certified in the box; None where it is not of all cases.
        lowest: the least good of all cases; None likewise.
        center: mean over cases of the medians around doing nothing.
        attacked: mean over cases of the worst medians that an attack on them found in the box.
        least_range: smallest certified range of all cases, in units of the box.
        reach: that range in the unit of every parameter, as one says it.
        broken: smallest distance at which a median was seen to be broken; None where none was.
        crossed: cases of which it was broken inside of the certified range, which one of twenty may be by chance.
        case: the case of the smallest range.
        cases: how many.
        patients: whose they are.
        draws: of a case, around doing nothing.
        sigma: of the draws, in units of the box.
        confidence: of every case for itself.
    """

    shift: str
    severity: int
    metric: str
    higher_is_better: bool
    bound: float | None
    lowest: float | None
    center: float | None
    attacked: float | None
    least_range: float
    reach: str
    broken: float | None
    crossed: int
    case: str
    cases: int
    patients: int
    draws: int
    sigma: float
    confidence: float

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ShiftCertificate:
        """From ``summary.json``."""
        return cls(**data)
