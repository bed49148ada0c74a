"""The nearest of the values that are allowed, for errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def nearest(value: Any, allowed: Iterable[Any]) -> str:
    """How a sentence ends that says what is allowed: with the value that was meant, where there is one like it.

    Example:
        >>> f"preset must be one of quick, standard, got 'quik'{nearest('quik', ['quick', 'standard'])}"
        "preset must be one of quick, standard, got 'quik'; did you mean quick?"
        >>> nearest(3, ["quick", "standard"])
        '.'
    """
    near = difflib.get_close_matches(str(value), [str(one) for one in allowed], 1)
    return f"; did you mean {near[0]}?" if near else "."
