"""The error of evidence whose rows cannot be computed again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class NotAgainError(ValueError):
    """An evaluation cannot be built again here."""


def check_outside(name: str, value: Any, evidence: str | os.PathLike[str] | None) -> None:
    """Refuse a recorded file or folder that lies in the evidence, of which nothing is run or opened as a model.

    Args:
        name: of what was typed.
        value: of it; what is no path that exists is left alone.
        evidence: its folder; None where there is none.

    Raises:
        NotAgainError: with what has to be given.

    Example:
        >>> check_outside("model", "evidence/model.pt", None)
    """
    if evidence is None or not isinstance(value, str):
        return
    try:
        inside = Path(value).exists() and Path(value).resolve().is_relative_to(Path(evidence).resolve())
    except (OSError, ValueError):  # too long for a path, or holding what none can
        return
    if inside:
        raise NotAgainError(
            f"the recorded --{name} {value} lies in the evidence itself, of which nothing is run: give --{name} ... of "
            "this machine."
        )
