"""The readings of SMIA's stabilization term: what Eq. 3 and 4 of its paper leave open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TARGETS = ("soft", "detached", "hard")
OFFSETS = ("total", "constant", "step")
DIVERGENCES = (None, "kl", "reverse_kl")
SAME_LOSS = "loss"  # how None is written: Eq. 3 takes the loss of the deviation itself


@dataclass(frozen=True)
class Reading:
    """One reading of Eq. 3 and 4 (Qi et al., ICLR 2021), as arguments of `SMIA`.

    The paper takes the distance of two predictions by the loss and says neither whether the gradient goes through both,
    nor what moves with the iterate, and in section 3.2 the loss is a KL divergence. `READINGS` has those that differ:
    without a gradient through the smoothed prediction it makes no difference what is held constant; the last step does
    not move with the iterate, so that nothing goes through it either. (Where the loss is a cross entropy, it is the
    reverse KL plus the entropy of the reference: with a detached target or the last step these two are one.)

    Args:
        target: how the smoothed prediction is the target: ``"soft"`` with the gradient through it, ``"detached"``
            without, ``"hard"`` as its decision.
        offset: what is smoothed: the ``"total"`` perturbation, the same held ``"constant"``, or the last ``"step"``.
        divergence: the distance: None for the loss itself (cross entropy; a detector's own), ``"kl"`` or
            ``"reverse_kl"``. A hard target has no entropy of its own, so that all of them are the loss.

    Raises:
        ValueError: if an argument is none of these words, or a hard target has a divergence.

    Example:
        >>> reading = Reading("detached", "step", "kl")
        >>> reading.name, Reading.named("detached, step, kl") == reading, len(READINGS), Reading().name
        ('detached, step, kl', True, 14, 'soft, total, loss')
    """

    target: str = "soft"
    offset: str = "total"
    divergence: str | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("target", TARGETS), ("offset", OFFSETS), ("divergence", DIVERGENCES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}.")
        if self.target == "hard" and self.divergence is not None:
            raise ValueError(f"divergence must be None with target 'hard', a decision, got {self.divergence!r}.")

    @property
    def name(self) -> str:
        """Target, what is smoothed, and divergence, as `named` takes it."""
        return ", ".join((self.target, self.offset, self.divergence or SAME_LOSS))

    @property
    def arguments(self) -> dict[str, Any]:
        """For `SMIA`: ``SMIA(eps=0.03, **reading.arguments)``."""
        return {"target": self.target, "offset": self.offset, "divergence": self.divergence}

    @classmethod
    def named(cls, name: str) -> Reading:
        """The reading of a `name`.

        Raises:
            ValueError: if it names none; those that differ are listed.
        """
        words = [word.strip() for word in name.split(",")] if isinstance(name, str) else []
        if len(words) != 3:
            known = "; ".join(reading.name for reading in READINGS)
            raise ValueError(f"reading must be target, offset and divergence, such as {known}. Got {name!r}.")
        target, offset, divergence = words
        return cls(target, offset, None if divergence == SAME_LOSS else divergence)


READINGS = (
    *(Reading("soft", offset, divergence) for offset in ("total", "constant") for divergence in DIVERGENCES),
    *(Reading("detached", offset, divergence) for offset in ("total", "step") for divergence in DIVERGENCES),
    *(Reading("hard", offset) for offset in ("total", "step")),
)
