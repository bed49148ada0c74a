"""Arguments that evaluations of models and products share, as they are given."""

from __future__ import annotations

from collections.abc import Sequence

from monai_smia.checks import check_number

OWN_STATISTICS = (
    "The model normalizes every image by its own statistics: a radius has no fixed size in network units, and what "
    "stands here as such is in the unit of the files."
)
SHARE = 0.03  # of a range: the radius where none is given


def check_limit(limit: int | None) -> None:
    """Raise where a number of cases is none.

    Example:
        >>> check_limit(0)
        Traceback (most recent call last):
        ValueError: limit must be None or a whole number >= 1, got 0.
    """
    if limit is not None:
        check_number("limit", limit, whole=True, least=1, optional=True)


def range_of(clip: Sequence[float] | None) -> tuple[float, float] | None:
    """A valid range, or None.

    Raises:
        ValueError: if it has not two ends, the lower one first.

    Example:
        >>> range_of(["0", 255])
        (0.0, 255.0)
    """
    if clip is None:
        return None
    ends = tuple(float(end) for end in clip)
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise ValueError(f"clip must be two values, the lower one first, got {list(clip)}.")
    return ends[0], ends[1]


def default_radius(width: float) -> float:
    """The radius where none is given, 3 % of a range: whole units where there is one.

    Example:
        >>> default_radius(1400.0), default_radius(1.0)
        (42.0, 0.03)
    """
    radius = SHARE * width
    return float(round(radius)) if radius >= 1 else float(f"{radius:.2g}")
