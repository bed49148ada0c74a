"""How long the rows of a plan take: estimated from one gradient at first, then from those that are done."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from monai_smia.attacks import FGSM, Attack
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.victims.base import Victim

SLACK = 1.25  # what an estimate may be short by
PROBE = 10  # gradients that a probe of the victim takes
PROBED = 3  # cases


def planned_predictions(attack: Attack | None) -> int:
    """Predictions of a row beside its gradients: that of the final image, and an attack's queries.

    Example:
        >>> from monai_smia.attacks import PGD, Square
        >>> [planned_predictions(attack) for attack in (None, PGD(eps=0.1), Square(eps=0.1, queries=50))]
        [0, 1, 51]
    """
    parts = getattr(attack, "attacks", None) or [part for part in [getattr(attack, "attack", None)] if part is not None]
    if parts:
        return sum(map(planned_predictions, parts))
    return 0 if attack is None else int(getattr(attack, "queries", 0)) + 1


def duration_text(seconds: float) -> str:
    """A duration as one says it, rounded up.

    Example:
        >>> [duration_text(s) for s in (0.2, 80, 200, 5000, 20000, 400000)]
        ['1 second', '80 seconds', '4 minutes', '84 minutes', '5.6 hours', '4.7 days']
    """
    for size, name, most, digits in ((1, "second", 100, 0), (60, "minute", 100, 0), (3600, "hour", 60, 1)):
        count = math.ceil(seconds / size * 10**digits) / 10**digits
        if count <= most:
            return f"{count:g} {name}{'' if count == 1 else 's'}"
    return f"{math.ceil(seconds / 8640) / 10:g} days"


@dataclass
class Pace:
    """Seconds that the rows of a plan take.

    Args:
        stored: attacked images are predicted from their files, too.
        degradations: how many; after each an image is predicted again, and attacked through it.
        gradient: seconds of one; 0 until it is measured.
        prediction: seconds of one with its metrics; 0 until it is measured.
    """

    stored: bool = False
    degradations: int = 0
    gradient: float = 0.0
    prediction: float = 0.0
    _before: dict[str, list[float]] = field(init=False, default_factory=dict)
    _took: dict[str, tuple[int, float]] = field(init=False, default_factory=dict)
    _work: float = field(init=False, default=0.0)
    _seconds: float = field(init=False, default=0.0)

    def measure(self, victim: Victim, case: Case, score: Callable[[Case, Tensor], Any]) -> None:
        """Take the time of one gradient, where the victim has any, and of one prediction with its metrics.

        Args:
            victim: what is attacked.
            case: a whole one.
            score: the figures of an image of a case.
        """
        start = time.perf_counter()
        if victim.differentiable:
            FGSM(eps=0.0, clip=None, keep="last", progress=False)(victim, case.image, case.label)
        between = time.perf_counter()
        score(case, case.image)
        self.gradient, self.prediction = between - start, time.perf_counter() - between

    def work(self, row: PlannedAttack) -> float:
        """Seconds of a row as its plan has it."""
        attack = row.attack
        gradients = 0 if attack is None else attack.planned_gradients
        predictions = planned_predictions(attack)
        scored = 1 + (self.stored and attack is not None) + 2 * self.degradations
        times = 1 + self.degradations
        return times * (gradients * self.gradient + predictions * self.prediction) + scored * self.prediction

    def remember(self, slug: str, seconds: float) -> None:
        """A row took this long in an earlier run; what it takes in this one counts more."""
        self._before.setdefault(slug, []).append(seconds)

    def note(self, row: PlannedAttack, seconds: float) -> None:
        """A row took this long."""
        count, sum_so_far = self._took.get(row.slug, (0, 0.0))
        self._took[row.slug] = count + 1, sum_so_far + seconds
        self._work, self._seconds = self._work + self.work(row), self._seconds + seconds

    def expected(self, row: PlannedAttack, ratio: float = 1.0) -> float:
        """Seconds that a row will take: what it took, in this run or an earlier one, else its work times a ratio."""
        if row.slug in self._took:
            count, seconds = self._took[row.slug]
            return seconds / count
        if before := self._before.get(row.slug):
            return sum(before) / len(before)
        return self.work(row) * ratio

    def left(self, rows: Mapping[PlannedAttack, int]) -> float:
        """Seconds that so many rows will take.

        What rows took against their work tells of the others, the more the more of the work they were.
        """
        planned = sum(map(self.work, rows))
        ratio = (self._seconds + planned) / (self._work + planned) if planned > 0 else 1.0
        return sum(count * self.expected(row, ratio) for row, count in rows.items())

    def at_most(self, rows: Mapping[PlannedAttack, int]) -> float:
        """The same with what an estimate may be short by, and with probes of the victim on clean images."""
        probes = sum(count for row, count in rows.items() if row.attack is None)
        return SLACK * (self.left(rows) + min(probes, PROBED) * PROBE * self.gradient)
