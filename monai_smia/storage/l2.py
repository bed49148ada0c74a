"""Stored integers within an L2 ball."""

from __future__ import annotations

from fractions import Fraction

import numpy as np


def within_l2(change: np.ndarray, delta: np.ndarray, unit: float | np.ndarray, eps: float) -> np.ndarray:
    """Whole units nearer to zero, so many that the Euclidean norm of the change is at most eps.

    Rounding to whole units may lengthen a perturbation. What was rounded away from zero most goes back one unit first.

    Args:
        change: whole units of every voxel.
        delta: the perturbation that was rounded, of the same shape, in the image's unit.
        unit: the image's unit per stored unit, one number or one per voxel (as broadcasts).
        eps: radius in the image's unit.

    Example:
        >>> within_l2(np.array([1, 1, -1]), np.array([0.9, 0.6, -0.8]), 1.0, 1.5)
        array([ 1,  0, -1])
    """
    units = np.broadcast_to(np.abs(np.asarray(unit, dtype=np.float64)), change.shape)
    change = change.copy()
    while (over := _square(change, units) - _square_of(eps)) > 0:
        size = np.abs(change)
        rounded = np.where(size > 0, size - np.abs(delta) / units, -np.inf).ravel()
        order = np.argsort(-rounded, kind="stable")[: int((size > 0).sum())]
        gain = np.cumsum(((2 * size - 1) * units**2).ravel()[order])
        back = order[: int(np.searchsorted(gain, float(over))) + 1]
        change.ravel()[back] -= np.sign(change.ravel()[back])
    return change


def _square(change: np.ndarray, units: np.ndarray) -> Fraction:
    """Squared norm of a change, exact on the units' decimals."""
    squares, total = change.astype(np.int64) ** 2, Fraction(0)
    for unit in np.unique(units):
        total += int(squares[units == unit].sum()) * Fraction(str(float(unit))) ** 2
    return total


def _square_of(eps: float) -> Fraction:
    """Squared radius; what is missing beyond the twelfth digit is the rounding of eps itself."""
    return Fraction(str(float(eps))) ** 2 * (1 + Fraction(1, 10**12))
