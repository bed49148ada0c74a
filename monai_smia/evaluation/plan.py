"""Which attacks an evaluation runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite, prod
from typing import Any

import numpy as np

from monai_smia.analysis.critical_radius import SHARE
from monai_smia.attacks import Attack, CriticalRadius, ShiftSearch, SmoothedShift, TryAll
from monai_smia.checks import check_number, check_switch, is_number
from monai_smia.files import check_file_name
from monai_smia.records import CLEAN, RowKey
from monai_smia.records.rows import CERTIFIED, EQUAL_RADIUS, EVERY_VALUE, SHIFT, is_as_the_paper

ROUNDING = 1e-6  # of a width, by which a radius may exceed it
AROUND = 60  # bytes of a file's name beside the case's and the row's, while it is written, too


@dataclass(frozen=True)
class PlannedAttack:
    """One row of an evaluation.

    Args:
        attack: the attack, its `eps` in the unit of the images; None evaluates them clean.
        eps: the radius in network units; None with no attack.
        setting: what the row is compared by, such as ``"equal radius"``.

    Raises:
        ValueError: if the attack has no radius, or one that is wider than the whole valid range.

    Example:
        >>> from monai_smia.attacks import BIM
        >>> row = PlannedAttack(BIM(eps=70.0, steps=25, clip=(-1024, 3071)), 0.05, "iterations")
        >>> row.name, row.slug, row.key("HU").eps_input
        ('BIM', 'bim_25-iterations_eps0.05', 70.0)
    """

    attack: Attack | None = None
    eps: float | None = None
    setting: str = ""

    def __post_init__(self) -> None:
        if self.attack is None:
            return
        clip, ball = self.attack.clip, self.attack.eps
        if ball is None:
            raise ValueError(f"attack must have a radius to be compared, got {self.name} with eps=None.")
        if clip is not None:
            self.check_range(clip)

    def check_range(self, valid: tuple[float, float], whose: str = "of the images") -> None:
        """Raise where the radius is wider than a valid range, in L-inf; of the paper's setting, the step.

        Args:
            valid: its ends, in the unit of the images.
            whose: range it is.

        Raises:
            ValueError: that names both, in both units.
        """
        if self.attack is None or self.attack.norm != "linf" or self.attack.eps is None or self.eps is None:
            return
        name, ball, radius = "eps", self.attack.eps, self.eps
        if is_as_the_paper(self.setting):  # there nothing projects
            step = getattr(self.attack, "step_size", None) or 0.0
            name, radius, ball = "eps as the step", radius * step / (ball or 1.0), step
        width = valid[1] - valid[0]
        if ball > width * (1 + ROUNDING):
            raise ValueError(
                f"{name} must be a radius within the valid range {whose}, got {radius:g} in network units: {ball:g} in "
                f"theirs, of which all lie from {valid[0]:g} to {valid[1]:g}: at most {radius * width / ball:.3g}."
            )

    @property
    def name(self) -> str:
        """Name of the row: that of the attack, or Clean."""
        return CLEAN if self.attack is None else self.attack.name

    @property
    def is_shift(self) -> bool:
        """Whether it is of an acquisition shift, which has no radius."""
        return isinstance(self.attack, ShiftSearch)

    @property
    def loss(self) -> str | None:
        """Name of the attack's own deviation loss, None for the victim's."""
        loss = getattr(self.attack, "loss", None)
        return loss if loss is None or isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)

    @property
    def slug(self) -> str:
        """A name for files, unique within a plan that has no row twice."""
        return self.key().slug

    def key(self, unit: str = "") -> RowKey:
        """The row in records and reports.

        Args:
            unit: of the images.
        """
        return RowKey(
            attack=self.name,
            setting=self.setting,
            loss=None if self.is_shift else self.loss,
            eps=self.eps,
            eps_input=None if self.attack is None or self.is_shift else self.attack.eps,
            unit=unit,
            norm=None if self.attack is None or self.is_shift else self.attack.norm,
            steps=getattr(self.attack, "steps", None),
            alpha=getattr(self.attack, "alpha", None),
            knowledge=None if self.attack is None else self.attack.knowledge,
        )


def plan_of(rows: Sequence[PlannedAttack | Attack], data_range: float) -> list[PlannedAttack]:
    """A plan in which attacks stand by themselves: rows at equal radius, after the clean images.

    Args:
        rows: rows, or attacks with `eps` in the unit of the images.
        data_range: width of the images' range that is 1 in network units.

    Raises:
        ValueError: if one is neither, an attack has no radius, there are none, or two have one name.

    Example:
        >>> from monai_smia.attacks import BIM
        >>> [(row.name, row.eps) for row in plan_of([BIM(eps=70.0, clip=None)], 1400.0)]
        [('Clean', None), ('BIM', 0.05)]
    """
    if isinstance(rows, (str, Attack, PlannedAttack)) or not isinstance(rows, Sequence):
        raise ValueError(f"attacks must be a list of attacks or of rows of a plan, got {rows!r}.")
    plan = [row if isinstance(row, PlannedAttack) else _at_equal_radius(row, data_range) for row in rows]
    if not plan:
        raise ValueError(f"attacks must hold at least one row, got {rows!r}.")
    plan = plan if any(row.attack is None for row in plan) else [PlannedAttack(), *plan]
    check_unique("attacks", [row.slug for row in plan])
    return plan


def _at_equal_radius(attack: Any, data_range: float) -> PlannedAttack:
    if not isinstance(attack, Attack):
        raise ValueError(f"attacks must hold attacks or rows of a plan, got {attack!r}.")
    if isinstance(attack, ShiftSearch):
        kinds = ((TryAll, EVERY_VALUE), (SmoothedShift, CERTIFIED), (ShiftSearch, SHIFT))
        how = next(word for kind, word in kinds if isinstance(attack, kind))
        return PlannedAttack(attack, None, f"{how}, severity {attack.shift.severity}")
    eps = None if attack.eps is None else float(f"{attack.eps / data_range:.9g}")
    return PlannedAttack(attack, eps, EQUAL_RADIUS)


def in_input_unit(radius: float, unit_scale: float) -> float:
    """A radius in the unit of the images, to nine digits: 0.05 / (1 / 1400) is to be 70, of which whole units are made.

    Args:
        radius: in network units.
        unit_scale: network units per unit of the images.
    """
    return float(f"{radius / unit_scale:.9g}")


def radii_of(eps: float | str | Sequence[float | str], name: str = "eps") -> list[float]:
    """The radii of a plan, checked.

    Args:
        eps: one, or a list of them, numbers or text such as ``"8/255"`` or ``"[4/255, 8/255]"``.
        name: of the argument.

    Raises:
        ValueError: if there is none, one is no finite number >= 0, or one is there twice.

    Example:
        >>> radii_of(0.05), radii_of([0.05, "1/8"]), radii_of("[1/8, 1/4/8]")
        ([0.05], [0.05, 0.125], [0.125, 0.03125])
    """
    several = isinstance(eps, (list, tuple)) or (isinstance(eps, np.ndarray) and eps.ndim > 0)
    given: list[Any] = list(eps) if several else _each(eps)  # type: ignore[arg-type]  # several is told by its type
    radii = [_from_text(radius) for radius in given]
    if not radii:
        raise ValueError(f"{name} must hold at least one radius, got {eps!r}.")
    for radius in radii:
        if not is_number(radius) or not isfinite(radius) or radius < 0:
            raise ValueError(f"{name} must be a finite number >= 0, or a list of such numbers, got {eps!r}.")
    if twice := sorted({radius for radius in radii if radii.count(radius) > 1}):
        raise ValueError(f"{name} must hold every radius once, got more than once: {twice}.")
    return radii


def share_of(plan: Sequence[PlannedAttack]) -> float:
    """What is left of what is right on the clean image at a critical radius: that of the plan's search for it."""
    return next((row.attack.share for row in plan if isinstance(row.attack, CriticalRadius)), SHARE)


def check_unique(name: str, values: Sequence[str]) -> None:
    """Raise a ValueError where two cases or rows of a plan have the same name."""
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{name} must have unique names, got more than once: {twice}.")


def check_settings(evaluation: Any) -> None:
    """Raise a ValueError where an argument of an evaluation is no number, or no switch ("False" is true)."""
    check_number("tolerance", evaluation.tolerance)
    for name in ("figures", "num_probed_cases"):
        check_number(name, getattr(evaluation, name), whole=True)
    for name in ("resume", "verify", "retry_failed", "progress"):
        check_switch(name, getattr(evaluation, name))


def check_cases(names: Sequence[str], plan: Sequence[PlannedAttack]) -> None:
    """Raise a ValueError where two cases have the same name, or one has a name that its files cannot have."""
    check_unique("cases", names)
    most = 255 - AROUND - max(len(row.slug) for row in plan)
    for name in names:
        check_file_name("case", name, most)


def _from_text(value: Any) -> Any:
    """The number that text writes, as people type it: 8/255, 8/255/2; the text where it is none."""
    if not isinstance(value, str):
        return value
    try:
        number, *divisors = (Fraction(part.strip()) for part in value.split("/"))
        return float(number / prod(divisors))
    except (ValueError, ZeroDivisionError):
        return value


def _each(value: Any) -> list[Any]:
    """What text names in brackets, ``"[4/255, 8/255]"``, or with commas alone; one value where it is no such list."""
    if not isinstance(value, str):
        return [value]
    listed = re.fullmatch(r"\s*[\[(](.*?),?\s*[\])]\s*", value)
    return (listed[1] if listed else value).split(",")
