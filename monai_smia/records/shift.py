"""Acquisition shifts in records and ``summary.json``: on average and at their worst, in the same box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

AVERAGE = "average_"  # before the name of a metric: its mean over a case's draws
DRAW_VALUES = "draw_values"  # the headline metric at every draw
WORST_DRAW = "worst_draw"  # damage of the worst draw
PARAMETERS, SEVERITY, TOLD = "parameters", "severity", "told"  # of the worst case
LATTICE = "lattice"  # of a finite set: the distance of neighboring values, as one says it
DRAWS, SIGMA, CONFIDENCE = "draws", "sigma", "confidence"  # of a certificate


@dataclass(frozen=True)
class ShiftGap:
    """One shift over all cases.

    Args:
        shift: its name.
        severity: how far its box reaches, 1 to 5.
        every_value: whether all values of a finite set were tried, so that the worst is a proof.
        metric: the headline metric, of cases.
        higher_is_better: whether a victim is better with more of it.
        clean: mean over cases of the clean images.
        average: mean over cases and draws.
        worst: mean over cases of each one's worst.
        average_interval, worst_interval: of 95 %, by patient; None where the patients are too few.
        cases: how many.
        patients: whose they are.
        draws: of a case.
        lowest: the worst of all cases.
        kept: value that `kept_share` of the draws keep in every case, with 95 % confidence for each; None without.
        kept_share: of the draws.
        case: the case of `lowest`.
        told: its parameters, as one says them.
        slug: of the row, which its pictures are named for.
        gradients: of a case.
        changes: of volumes, by name: on average and at worst, means over cases.
        lattice: of a finite set: the distance of neighboring values, as one says it.
    """

    shift: str
    severity: int
    every_value: bool
    metric: str
    higher_is_better: bool
    clean: float | None
    average: float | None
    worst: float | None
    average_interval: list[float] | None
    worst_interval: list[float] | None
    cases: int
    patients: int
    draws: int
    lowest: float | None
    kept: float | None
    kept_share: float | None
    case: str
    told: str
    slug: str
    gradients: float | None = None
    changes: dict[str, list[float | None]] = field(default_factory=dict)
    lattice: str = ""

    @property
    def gap(self) -> float | None:
        """How much worse the worst case is than the average, in the metric; never below 0."""
        return _less(self.average, self.worst, self.higher_is_better)

    @property
    def drop(self) -> float | None:
        """How much worse the average is than the clean images."""
        return _less(self.clean, self.average, self.higher_is_better)

    @property
    def relative_drop(self) -> float | None:
        """The drop as a share of what is right on the clean images; None where nothing is."""
        right = None if self.clean is None else self.clean if self.higher_is_better else 1 - self.clean
        return None if self.drop is None or not right else self.drop / right

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ShiftGap:
        """From ``summary.json``."""
        return cls(**data)


def _less(before: float | None, after: float | None, higher_is_better: bool) -> float | None:
    if before is None or after is None:
        return None
    return before - after if higher_is_better else after - before
