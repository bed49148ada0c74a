"""Critical radii in ``summary.json``: the smallest change that leaves half of what was right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CaseRadius:
    """The critical radius of one case, an upper bound.

    Args:
        case: its name.
        patient: whose it is.
        eps: in network units; None where the case holds at the largest radius.
        eps_input: in the unit of the images.
        by: the row that found it.
    """

    case: str
    patient: str
    eps: float | None
    eps_input: float | None
    by: str | None


@dataclass(frozen=True)
class CriticalRadii:
    """The critical radii of all cases in one norm.

    Args:
        norm: ``"linf"`` or ``"l2"``.
        share: of what is right on the clean image that is left at the critical radius, at most.
        largest: the largest radius tried, in network units.
        largest_input: in the unit of the images.
        median: over patients, in network units; None where half of them hold at the largest radius.
        median_input: in the unit of the images.
        interval_input: of 95 % of `median_input`, by order statistics; an end is None where it lies beyond the largest
            radius. None where the patients are too few.
        holding: cases that hold at the largest radius.
        patients: how many the median is of.
        wrong_when_clean: cases of which the clean image left nothing to break; they have none.
        cases: every case, the smallest radius first, those that hold last.
    """

    norm: str
    share: float
    largest: float | None
    largest_input: float | None
    median: float | None
    median_input: float | None
    interval_input: list[float | None] | None
    holding: int
    patients: int
    wrong_when_clean: int
    cases: list[CaseRadius]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CriticalRadii:
        """From ``summary.json``."""
        return cls(**{**data, "cases": [CaseRadius(**case) for case in data["cases"]]})
