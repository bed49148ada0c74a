"""Arguments of the overlay, as a command line or a config gives them: every override of a run arrives as a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_smia.nearest import nearest

WORDS = {"true": True, "false": False, "null": None}


def check_choice(name: str, value: str | None, allowed: Sequence[str | None]) -> None:
    """Raise a ValueError where an argument is none of the values that it may have."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {tuple(allowed)}, got {value!r}{nearest(value, allowed)}")


def check_left_out(task: str, others: Mapping[str, Any]) -> None:
    """Raise a ValueError where an argument is given that is of another task.

    Example:
        >>> check_left_out("segmentation", {"within": 2.0})
        Traceback (most recent call last):
        ValueError: within must be left out of a segmentation, got 2.0.
    """
    for name, value in others.items():
        if value is not None:
            raise ValueError(f"{name} must be left out of a {task}, got {value!r}.")


def as_switch(name: str, value: Any) -> bool:
    """True or False; ``"true"`` and ``"false"`` are what they say.

    Raises:
        ValueError: if it is something else.

    Example:
        >>> as_switch("figures", "false")
        False
        >>> as_switch("figures", "no")
        Traceback (most recent call last):
        ValueError: figures must be true or false, got 'no'.
    """
    found = _meant(value)
    if not isinstance(found, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}.")
    return found


def as_optional_switch(name: str, value: Any) -> bool | None:
    """The same, or None.

    Raises:
        ValueError: if it is something else.

    Example:
        >>> as_optional_switch("unsupervised", "yes")
        Traceback (most recent call last):
        ValueError: unsupervised must be true, false or null, got 'yes'.
    """
    found = _meant(value)
    if not (found is None or isinstance(found, bool)):
        raise ValueError(f"{name} must be true, false or null, got {value!r}.")
    return found


def as_limit(name: str, value: Any) -> int | None:
    """A whole number of at least 1, or None.

    Raises:
        ValueError: if it is something else.

    Example:
        >>> as_limit("limit", -1)
        Traceback (most recent call last):
        ValueError: limit must be a whole number of at least 1 or null, got -1.
    """
    found = _meant(value)
    if found is not None and (not isinstance(found, int) or isinstance(found, bool) or found < 1):
        raise ValueError(f"{name} must be a whole number of at least 1 or null, got {value!r}.")
    return found


def check_label_key(key: str, default: str, items: Sequence[Mapping[Any, Any]], unsupervised: bool | None) -> bool:
    """Whether items have a label: one that lacks it while others have it is a failure of its own.

    Args:
        key: of the label.
        default: the key that nobody has to give.
        items: of the dataset.
        unsupervised: the clean decision is the reference, as was asked for; None where that is to be told.

    Raises:
        ValueError: if they have none and ``unsupervised`` is False, or no item has a key that was given.
    """
    labeled = any(item.get(key) is not None for item in items)
    given = unsupervised is False or (key != default and unsupervised is None)
    if given and not labeled:
        raise ValueError(
            f"items have no {key!r}, only {sorted(map(str, items[0]))}: say which with --attack#label_key, or take the "
            "clean decision as the reference with --attack#unsupervised true."
        )
    return labeled


def _meant(value: Any) -> Any:
    return WORDS.get(value.lower(), value) if isinstance(value, str) else value
