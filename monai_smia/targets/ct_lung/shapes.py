"""Implicit shapes: functions of coordinates in mm, negative inside, that grow by about one per mm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.floating[Any]]  # float32 wherever it has the size of a volume


def paint(image: Field, sdf: Field, hu: float | Field, edge: float, fill: float = 1.0) -> None:
    """Blend ``hu`` into ``image`` in place, over an edge of ``edge`` mm: a voxel gets the share that lies inside."""
    image += fill * np.clip(0.5 - sdf / edge, 0, 1) * (hu - image)


def oval(x: Field, y: Field, width: float | Field, depth: float | Field, power: float = 2.0) -> Field:
    """A cylinder along z with a superellipse as its section; half axes in mm."""
    radius: Field = (np.abs(x) ** power * width**-power + np.abs(y) ** power * depth**-power) ** (1 / power)
    return (radius - 1) * np.minimum(width, depth, dtype=np.float32)


def ellipsoid(x: Field, y: Field, z: Field, center: Sequence[float], radii: Sequence[float]) -> Field:
    """An ellipsoid along the axes."""
    u, v, w = ((axis - c) / r for axis, c, r in zip((x, y, z), center, radii, strict=True))
    radius: Field = np.sqrt(u * u + v * v + w * w)
    return (radius - 1) * min(radii)


def capsule(x: Field, y: Field, z: Field, start: Sequence[float], end: Sequence[float], radius: float) -> Field:
    """A tube with round ends."""
    axis = [b - a for a, b in zip(start, end, strict=True)]
    dx, dy, dz = x - start[0], y - start[1], z - start[2]
    along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / sum(a * a for a in axis), 0, 1)
    u, v, w = (d - along * a for d, a in zip((dx, dy, dz), axis, strict=True))
    distance: Field = np.sqrt(u * u + v * v + w * w)
    return distance - radius


def smooth_max(a: Field, b: Field, k: float = 6.0) -> Field:
    """Intersection of two shapes with an edge rounded over k mm."""
    overlap = np.maximum(k - np.abs(a - b), 0)
    rounded: Field = np.maximum(a, b) + overlap * overlap / (4 * k)
    return rounded


def profile(t: Field, knots: Sequence[float], values: Sequence[float]) -> Field:
    """Values between knots, linear."""
    values_at: Field = np.interp(t, knots, values).astype(np.float32)
    return values_at


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], voxel: Sequence[float], width: float) -> Field:
    """White noise smoothed over ``width`` mm (full width at half maximum), of unit variance."""
    noise = rng.standard_normal(shape, np.float32)
    smooth: Field = ndimage.gaussian_filter(noise, [width / v / 2.355 for v in voxel], mode="wrap", truncate=3.0)
    smooth /= smooth.std()
    return smooth
