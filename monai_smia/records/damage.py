"""Damage in records: that of the clean image, which is no attack's, that of the image attacked, and what was added."""

from __future__ import annotations

import math

DAMAGE, CLEAN_DAMAGE, ADDED_DAMAGE = "damage", "clean_damage", "added_damage"
FROZEN = "frozen"  # share of voxels that the valid range lets no attack change
ALL = 1.0  # damage with which nothing is left to break


def damages(damage: float, clean: float | None = None) -> dict[str, float | None]:
    """The metrics of a record that hold its damage; None where it is undefined.

    Args:
        damage: of the image.
        clean: of the clean image; None leaves the comparison out.

    Example:
        >>> damages(0.75, 0.25)
        {'damage': 0.75, 'clean_damage': 0.25, 'added_damage': 0.5}
    """
    found = {DAMAGE: _known(damage)}
    if clean is None:
        return found
    return found | {CLEAN_DAMAGE: _known(clean), ADDED_DAMAGE: _known(damage - clean)}


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
