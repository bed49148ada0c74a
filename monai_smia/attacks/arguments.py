"""Checks of what attacks are made with: every argument is of the kind that its annotation says."""

from __future__ import annotations

import logging
import math
from dataclasses import fields
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

LOGGER = logging.getLogger(__name__)

KINDS = {"int": "a whole number", "float": "a number", "bool": "True or False", "None": "None"}


def check_kinds(attack: Any) -> None:
    """Raise a ValueError where an argument that is annotated as a number or a switch is none.

    Text is no number ("0.1"), and no switch: "False" would be taken for true.

    Args:
        attack: a dataclass. Fields of other types are left alone.

    Example:
        >>> from monai_smia.attacks import PGD
        >>> PGD(eps=0.1, steps="ten")
        Traceback (most recent call last):
        ValueError: steps must be a whole number, got 'ten'.
    """
    for argument in fields(attack):
        kinds = getattr(argument.type, "__name__", str(argument.type)).split(" | ")
        value = getattr(attack, argument.name)
        if set(kinds) <= KINDS.keys() and not any(_is(value, kind) for kind in kinds):
            raise ValueError(f"{argument.name} must be {', or '.join(KINDS[kind] for kind in kinds)}, got {value!r}.")


def tell_reached(targets: bool, clean_damage: Tensor) -> None:
    """Say where a targeted attack has nothing to do, for the clean image decides on its target already."""
    if targets and (reached := (clean_damage == 0).nonzero().flatten().tolist()):
        LOGGER.warning(
            "The label is the target, and is what the clean image decides on already, in samples %s.", reached
        )


def check_stop_at(stop_at: float | None) -> None:
    """Raise a ValueError where a damage to stop at is none."""
    if stop_at is not None and not 0 < stop_at <= 1:
        raise ValueError(f"stop_at must lie in (0, 1], or be None, got {stop_at}.")


def _is(value: Any, kind: str) -> bool:
    if kind == "None":
        return value is None
    if kind == "bool" or isinstance(value, (bool, np.bool_)):
        return kind == "bool" and isinstance(value, (bool, np.bool_))
    return isinstance(value, Real) and (kind == "float" or (math.isfinite(value) and value == math.floor(value)))
