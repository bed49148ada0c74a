"""Shapes, textures and light that drawn artefacts and mucosa are made of; pictures are ``(H, W)`` or ``(H, W, 3)``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Map = NDArray[np.float32]
Drawn = tuple[Map, Map]  # the changed frame, and where it changed


def region(
    field: Any,
    rng: np.random.Generator,
    radius: tuple[float, float],
    *,
    edge: float,
    rough: float = 0.8,
    at_border: bool = False,
) -> Map:
    """The opacity of an irregular patch of tissue; radii and the width of its edge relative to the frame's width."""
    height, width = field.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    center = place(field, rng, 0.05)
    if at_border:
        rows, columns = np.nonzero(field & ~ndimage.binary_erosion(field, iterations=4))
        pick = rng.integers(len(rows))
        center = np.array([rows[pick], columns[pick]], float)
    a, b = rng.uniform(*radius, 2) * width
    b = min(max(b, 0.5 * a), 2 * a)
    angle = rng.uniform(0, math.pi)
    u = ((x - center[1]) * math.cos(angle) + (y - center[0]) * math.sin(angle)) / a
    v = (-(x - center[1]) * math.sin(angle) + (y - center[0]) * math.cos(angle)) / b
    noise = smooth_noise(rng, field.shape, max(min(a, b) * 0.35, 1.5))
    signed = 1 - np.hypot(u, v) + 0.13 * rough * noise  # in units of the radius
    ramp = np.clip(signed / max(edge, 1e-3) + 0.5, 0, 1)
    smooth = ramp * ramp * (3 - 2 * ramp) * (np.hypot(u, v) < 1.6)
    return (smooth * ndimage.gaussian_filter(field.astype(np.float32), 1.0)).astype(np.float32)


def place(field: Any, rng: np.random.Generator, margin: float) -> NDArray[np.float64]:
    """A random point of the tissue (row, column), away from its border where possible."""
    inner = ndimage.binary_erosion(field, iterations=max(int(margin * field.shape[1]), 1))
    rows, columns = np.nonzero(inner if inner.any() else field)
    pick = rng.integers(len(rows))
    return np.array([rows[pick], columns[pick]], np.float64)


def window(
    shape: Sequence[int], y: float, x: float, reach: float, like: tuple[slice, slice] | None = None
) -> tuple[slice, slice, Any]:
    """Rows and columns around a point, and each pixel's distance from it."""
    if like is None:
        ends = [(int(c - reach), int(c + reach) + 1, n) for c, n in zip((y, x), shape, strict=True)]
        like = tuple(slice(max(low, 0), min(max(high, 0), n)) for low, high, n in ends)  # type: ignore[assignment]
    rows, columns = like  # type: ignore[misc]
    grid = np.mgrid[: shape[0], : shape[1]][:, rows, columns]
    return rows, columns, np.hypot(grid[0] - y, grid[1] - x)


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], sigma: float) -> Map:
    """Noise correlated over `sigma` pixels, of unit variance; drawn coarsely and enlarged."""
    step = max(int(sigma / 1.5), 1)
    coarse = rng.standard_normal([n // step + 3 for n in shape[:2]])
    coarse = ndimage.gaussian_filter(coarse, sigma / step)
    coarse /= coarse.std() + 1e-9
    fine = enlarged(coarse, step)
    return fine[: shape[0], : shape[1]].astype(np.float32)


def enlarged(coarse: Any, factor: int) -> Any:
    """Linear interpolation to a multiple of the size; much faster than SciPy's zoom."""
    if factor == 1:
        return coarse
    picture = Image.fromarray(np.ascontiguousarray(coarse, np.float32))
    return np.asarray(picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.BILINEAR))


def relief(opacity: Map, rng: np.random.Generator) -> Map:
    """Light from above on a rough surface, about -0.3 to 0.3."""
    surface = ndimage.gaussian_filter(opacity, 2.0) * 3 + 0.5 * smooth_noise(rng, opacity.shape, 2.0)
    return np.clip(-0.35 * np.gradient(surface, axis=0), -0.35, 0.35).astype(np.float32)


def light_of(image: Map) -> Any:
    """How brightly the scope lights each place, 0.35 to 1.1 ``(H, W, 1)``."""
    coarse = ndimage.gaussian_filter(image.max(2)[::4, ::4], image.shape[1] / 60)
    smooth = enlarged(coarse, 4)[: image.shape[0], : image.shape[1]]
    return np.clip(0.3 + 1.1 * smooth, 0.35, 1.1)[..., None]


def mean_color(image: Map, weight: Map) -> Any:
    """The color ``(3,)`` of a picture, weighted."""
    return (image * weight[..., None]).sum((0, 1)) / max(float(weight.sum()), 1e-6)


def over(below: Map, above: Any, opacity: Map) -> Map:
    """One picture over another."""
    return (below + (above - below) * opacity[..., None]).astype(np.float32)
