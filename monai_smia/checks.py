"""Checks of arguments that many parts take: numbers and switches."""

from __future__ import annotations

from math import inf, isfinite
from numbers import Real
from typing import Any


def check_number(
    name: str,
    value: Any,
    *,
    whole: bool = False,
    positive: bool = False,
    least: int = 0,
    most: float = inf,
    optional: bool = False,
) -> None:
    """Raise a ValueError where an argument is no finite number, or no whole one, or outside its range.

    Args:
        name: of the argument.
        value: as a config gives it, where ``nan`` or ``1e-2`` arrive as text and ``true`` as a bool.
        whole: whether it must be a whole number.
        positive: whether 0 is outside the range, which begins there.
        least, most: ends of the range.
        optional: whether it may be None.

    Example:
        >>> check_number("fold", 9, whole=True, most=4, optional=True)
        Traceback (most recent call last):
        ValueError: fold must be None or a whole number from 0 to 4, got 9.
    """
    if optional and value is None:
        return
    right = is_number(value) and isfinite(value) and least <= value <= most and (not whole or int(value) == value)
    if not right or (positive and value == 0):
        kind = f"{'None or ' if optional else ''}a {'whole' if whole else 'finite'} number"
        limits = f"from {least} to {most:g}" if most < inf else f"> {least}" if positive else f">= {least}"
        raise ValueError(f"{name} must be {kind} {limits}, got {value!r}.")


def check_switch(name: str, value: Any) -> None:
    """Raise a ValueError where an argument is neither True nor False: the text "false" would be taken for true.

    Example:
        >>> check_switch("identified", "false")
        Traceback (most recent call last):
        ValueError: identified must be True or False, got 'false'.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}.")


def is_number(value: Any) -> bool:
    """Whether a value is a number, which text and True are not."""
    return isinstance(value, Real) and not isinstance(value, bool)
