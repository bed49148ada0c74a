"""Rows of an evaluation: the attack with all that tells it apart, and the stage of its images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

CLEAN = "Clean"  # name of the row without an attack

EQUAL_RADIUS = "equal radius"
EQUAL_GRADIENTS = "equal gradients"
ROUND = "round"  # "round 2": the second of a plan whose gradients are doubled until its figure stands still
PAPER = "paper"  # the SMIA paper's own setting: steps of epsilon, the last iterate, nothing projects
PAPER_ITERATIONS, PAPER_ALPHA = "paper, iterations", "paper, alpha"  # in it, rows that differ by these
CRITICAL_RADIUS = "critical radius"  # the smallest radius that succeeds, within that of the row
PATCH = "patch"  # "patch of 32 x 32": anything, in a place of its own
SHIFT = "shift"  # "shift, severity 3": a shift of how the image was taken, on average and at its worst
EVERY_VALUE = "every value"  # the same, of all values of a finite set
CERTIFIED = "certified"  # "certified, severity 3": what half of the draws around any parameters of the box keep
WHITE_BOX, TRANSFER, BLACK_BOX, NO_KNOWLEDGE = "white box", "transfer", "black box", "none"  # of an attacker
ITERATIONS = "iterations"  # rows that differ by their steps
ALPHA = "alpha"  # rows that differ by SMIA's weight
READING = "reading"  # "reading soft, constant, kl": rows of SMIA that differ by how Eq. 3 and 4 are read


def is_as_the_paper(setting: str) -> bool:
    """Whether a setting is the SMIA paper's own, or a part of it, in which nothing projects.

    Example:
        >>> is_as_the_paper("paper, iterations"), is_as_the_paper("equal radius")
        (True, False)
    """
    return setting.partition(",")[0] == PAPER


@dataclass(frozen=True)
class RowKey:
    """One row of an evaluation; the defaults are the row of the clean images.

    Args:
        attack: name of the attack, or `CLEAN`.
        setting: what the row is compared by: one of the constants of this module, or any other word.
        loss: name of the attack's own deviation loss, None for the victim's.
        eps: radius in network units.
        eps_input: radius in the unit of the images.
        unit: unit of the images, such as ``"HU"``.
        norm: ``"linf"`` or ``"l2"``.
        steps: steps of an iterated attack.
        alpha: weight of SMIA's stabilization term.
        knowledge: of the attacker: `WHITE_BOX`, `TRANSFER`, `BLACK_BOX` or `NO_KNOWLEDGE` (noise); None when clean.

    Example:
        >>> row = RowKey("PGD", EQUAL_RADIUS, loss="soft_jaccard", eps=0.05)
        >>> row.label, row.slug, row.is_clean, RowKey().label
        ('PGD soft_jaccard, equal radius, eps 0.05', 'pgd_soft_jaccard_equal-radius_eps0.05', False, 'Clean')
    """

    attack: str = CLEAN
    setting: str = ""
    loss: str | None = None
    eps: float | None = None
    eps_input: float | None = None
    unit: str = ""
    norm: str | None = None
    steps: int | None = None
    alpha: float | None = None
    knowledge: str | None = None

    @property
    def is_clean(self) -> bool:
        """Whether nothing attacks."""
        return self.attack == CLEAN

    @property
    def is_shift(self) -> bool:
        """Whether the row is of an acquisition shift, which has no radius.

        Example:
            >>> RowKey("Dose", "shift, severity 3").is_shift, RowKey("SMIA", EQUAL_RADIUS).is_shift
            (True, False)
        """
        return self.setting.partition(",")[0] in (SHIFT, EVERY_VALUE, CERTIFIED)

    @property
    def round(self) -> int | None:
        """Which round of a plan the row is of; None where its gradients are not doubled.

        Example:
            >>> RowKey("APGD", "round 2").round, RowKey("SMIA", EQUAL_RADIUS).round
            (2, None)
        """
        word, _, number = self.setting.partition(" ")
        return int(number) if word == ROUND and number.isdecimal() else None

    @property
    def reading(self) -> str | None:
        """How the row's SMIA reads Eq. 3 and 4, as `monai_smia.attacks.Reading` names it; None where it is no matter.

        Example:
            >>> RowKey("SMIA", "paper, reading soft, constant, kl").reading, RowKey("SMIA", "paper").reading
            ('soft, constant, kl', None)
        """
        word, _, name = self.setting.removeprefix(f"{PAPER}, ").partition(" ")
        return name if word == READING and name else None

    @property
    def as_the_paper(self) -> bool:
        """Whether the row is in the SMIA paper's own setting, in which nothing projects."""
        return is_as_the_paper(self.setting)

    @property
    def is_bounded(self) -> bool:
        """Whether every change of the row stays within its radius, at all places."""
        return not self.as_the_paper and self.setting.partition(" ")[0] != PATCH

    @property
    def is_within(self) -> bool:
        """Whether the row is compared with the others of its radius."""
        return self.is_bounded and self.setting != CRITICAL_RADIUS

    @property
    def title(self) -> str:
        """Attack, loss, and the norm where it is not L-inf."""
        norm = None if self.norm in (None, "linf") else self.norm.replace("l", "L")
        return " ".join(part for part in (self.attack, self.loss, norm) if part)

    @property
    def setting_label(self) -> str:
        """The setting with the value that it is about: ``"25 iterations"``, ``"alpha 0.75"``."""
        if self.setting in (ITERATIONS, PAPER_ITERATIONS) and self.steps is not None:
            return self.setting.replace(ITERATIONS, f"{self.steps} iterations")
        if self.setting in (ALPHA, PAPER_ALPHA) and self.alpha is not None:
            return self.setting.replace(ALPHA, f"alpha {self.alpha:g}")
        return self.setting

    @property
    def label(self) -> str:
        """Name in tables and charts."""
        parts = [self.title, self.setting_label, None if self.eps is None else f"eps {self.eps:g}"]
        return ", ".join(part for part in parts if part)

    @cached_property
    def slug(self) -> str:
        """A safe name for files, unique within an evaluation."""
        norm = None if self.norm in (None, "linf") else self.norm
        parts = [self.attack, self.loss, norm, self.setting_label, None if self.eps is None else f"eps{self.eps:g}"]
        safe = (re.sub(r"[^\w.+-]+", "-", part.lower()).strip("-") for part in parts if part)
        return "_".join(part for part in safe if part)

    def to_json(self) -> dict[str, Any]:
        """Flat, as in files."""
        return {name: getattr(self, name) for name in ROW_FIELDS}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RowKey:
        """From a mapping that holds more than this."""
        return cls(**{name: data[name] for name in ROW_FIELDS})


ROW_FIELDS = tuple(field.name for field in fields(RowKey))


@dataclass(frozen=True)
class Stage:
    """State of the images of a row when they were predicted.

    Args:
        kind: ``"computed"`` as the attack left them; ``"stored"`` written to a file and read back; ``"after"`` and
            ``"oracle"`` after a degradation, the latter those of an attack through that very degradation.
        degradation: its name.

    Example:
        >>> str(COMPUTED), str(Stage.after("smooth")), Stage.parse("oracle smooth") == Stage.oracle("smooth")
        ('computed', 'after smooth', True)
    """

    kind: str
    degradation: str = ""

    @classmethod
    def after(cls, degradation: str) -> Stage:
        """Attacked without knowing of the degradation."""
        return cls("after", degradation)

    @classmethod
    def oracle(cls, degradation: str) -> Stage:
        """Attacked through the degradation."""
        return cls("oracle", degradation)

    @classmethod
    def parse(cls, text: str) -> Stage:
        """From its text in files."""
        kind, _, degradation = text.partition(" ")
        return cls(kind, degradation)

    @property
    def is_after(self) -> bool:
        """Whether a degradation came after an attack that knew nothing of it."""
        return self.kind == "after"

    def __str__(self) -> str:
        return f"{self.kind} {self.degradation}".rstrip()


COMPUTED = Stage("computed")
STORED = Stage("stored")
