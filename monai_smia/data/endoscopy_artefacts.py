"""The seven artefacts of EAD-2019, drawn onto clean endoscopy frames with exact boxes.

A frame is an array ``(H, W, 3)`` of float32 in [0, 1]. Every artefact is an opacity map ``(H, W)`` together with what
it shows; its box is the extent of the opacity above one half, so that the box is exact by construction. First the
artefacts of the light and the lens are drawn (they change what is there), then the things in front of the tissue.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["EAD_CLASSES", "ArtefactFrame", "add_artefacts", "smooth_noise", "suppress_highlights", "tissue_field"]

Map = NDArray[np.float32]
Box = tuple[int, int, int, int]  # x1, y1, x2, y2
Drawn = tuple[Map, Map]  # the changed frame, and where it changed

EAD_CLASSES = ("specularity", "saturation", "artifact", "blur", "contrast", "bubbles", "instrument")

# How often each class is tried on a frame; a frame of EAD-2019 has many specularities and seldom an instrument.
_FREQUENCY = {
    "blur": (0.35, 1),
    "contrast": (0.45, 1),
    "saturation": (0.5, 1),
    "artifact": (0.5, 2),
    "bubbles": (0.45, 2),
    "instrument": (0.4, 1),
    "specularity": (0.75, 4),
}


@dataclass(frozen=True)
class ArtefactFrame:
    """A frame with its artefacts.

    Attributes:
        image: float32 ``(H, W, 3)`` in [0, 1].
        boxes: float32 ``(N, 4)``, x1, y1, x2, y2 in pixels, x along the width; x2 and y2 are exclusive.
        labels: int64 ``(N,)``, indices into `EAD_CLASSES`.
    """

    image: Map
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def add_artefacts(frame: Map, *, seed: int = 0, classes: Sequence[str] = EAD_CLASSES) -> ArtefactFrame:
    """Draw random artefacts onto a clean frame.

    Args:
        frame: ``(H, W, 3)`` in [0, 1]; black surroundings, text and coloured panels are left alone.
        seed: a non-negative integer; the same seed draws the same artefacts.
        classes: which artefacts may appear, out of `EAD_CLASSES`.

    Returns:
        The frame with its boxes; none where the frame shows too little tissue.

    Raises:
        ValueError: if the frame is not ``(H, W, 3)`` in [0, 1] with both sides at least 64, or a class is unknown.

    Example:
        >>> drawn = add_artefacts(np.full((96, 128, 3), 0.5, np.float32), seed=3)
        >>> drawn.image.shape, drawn.boxes.shape[1], len(drawn.boxes) == len(drawn.labels)
        ((96, 128, 3), 4, True)
    """
    frame = np.asarray(frame, np.float32)
    if frame.ndim != 3 or frame.shape[2] != 3 or min(frame.shape[:2]) < 64:
        raise ValueError(f"frame must have the shape (H, W, 3) with both sides at least 64, got {frame.shape}.")
    if not (np.isfinite(frame).all() and frame.min() >= 0 and frame.max() <= 1):
        raise ValueError(f"frame must lie in [0, 1], got values from {frame.min():g} to {frame.max():g}.")
    unknown = sorted(set(classes) - set(EAD_CLASSES))
    if unknown:
        raise ValueError(f"classes must be out of {', '.join(EAD_CLASSES)}; got {', '.join(unknown)}.")
    rng = np.random.default_rng(seed)
    field = tissue_field(frame)
    image = frame
    boxes: list[Box] = []
    labels: list[int] = []
    if field.mean() > 0.1:
        for name in (name for name in _FREQUENCY if name in classes):
            probability, most = _FREQUENCY[name]
            count = int(rng.integers(1, most + 1)) if rng.random() < probability else 0
            for _ in range(count):
                drawn, opacity = _ARTEFACTS[name](image, field, rng)
                box = _extent(opacity)
                if box is None or _crowded(box, name, boxes, labels):
                    continue
                image = drawn
                boxes.append(box)
                labels.append(EAD_CLASSES.index(name))
    return ArtefactFrame(
        np.clip(image, 0, 1), np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64).reshape(-1)
    )


def tissue_field(frame: Map) -> NDArray[np.bool_]:
    """Where a frame shows tissue: its largest lit part, coloured panels left out ``(H, W)``."""
    red, green, blue = np.moveaxis(frame, 2, 0)
    lit = (frame.max(2) > 0.1) & (np.maximum(green, blue) < 1.6 * red + 0.05)
    lit = ndimage.binary_opening(lit, iterations=3)
    parts, count = ndimage.label(lit)
    if not count:
        return lit
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(parts == sizes.argmax()))


def suppress_highlights(frame: Map) -> Map:
    """A frame without its own small specular highlights, which would be artefacts without a box.

    What is much brighter and paler than its surroundings is filled from them; large overexposed parts stay.

    Args:
        frame: ``(H, W, 3)`` in [0, 1].

    Returns:
        A new frame of the same shape.
    """
    height, width = frame.shape[:2]
    dull = frame.min(2)
    coarse = ndimage.median_filter(dull[::4, ::4], size=max(height // 50 * 2 + 1, 5))
    background = ndimage.zoom(coarse, np.divide(dull.shape, coarse.shape), order=1)
    glare = (dull - background > 0.1) & ndimage.binary_erosion(tissue_field(frame), iterations=height // 40)
    glare = ndimage.binary_dilation(glare, iterations=max(height // 110, 2))
    # from the nearest pixels, and from further off where there are none; a quarter of the resolution is enough for that
    pad = ((0, -height % 4), (0, -width % 4), (0, 0))
    known = np.pad((~glare).astype(np.float32)[..., None], pad)
    sums = np.concatenate([np.pad(frame, pad) * known, known], 2)
    sums = sums.reshape(sums.shape[0] // 4, 4, sums.shape[1] // 4, 4, 4).mean((1, 3))
    filled, missing = frame.copy(), glare
    for sigma in (0.7, 1.5, 3.5):
        smooth = ndimage.gaussian_filter(sums, (sigma, sigma, 0))
        take = missing & (ndimage.zoom(smooth[..., 3], 4, order=1)[:height, :width] > 0.05)
        colors = np.moveaxis(smooth[..., :3] / np.maximum(smooth[..., 3:], 1e-6), 2, 0)
        filled[take] = np.stack([ndimage.zoom(c, 4, order=1)[:height, :width][take] for c in colors], 1)
        missing = missing & ~take
    return filled


# ---- the artefacts of light and lens


def _blur(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Motion blur of a region: the scope moved, or the tissue."""
    height, width = field.shape
    opacity = _region(field, rng, (0.25, 0.45), edge=0.1)
    reach = max(int(rng.uniform(0.025, 0.055) * width), 3)
    angle = rng.uniform(0, math.pi)
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    moved = np.zeros_like(image)
    for offset in range(-reach, reach + 1):
        down, right = reach + round(offset * math.sin(angle)), reach + round(offset * math.cos(angle))
        moved += padded[down : down + height, right : right + width]
    moved = ndimage.gaussian_filter(moved / (2 * reach + 1), (1.2, 1.2, 0))
    return _over(image, moved, opacity), opacity


def _contrast(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Poor contrast: a region in the shade whose texture is lost, sometimes behind a haze."""
    opacity = _region(field, rng, (0.16, 0.34), edge=0.7, rough=1.3)
    flat = ndimage.gaussian_filter(image, (6, 6, 0))
    level = _mean_color(image, opacity)
    faint = level + 0.45 * (flat - level) + 0.15 * (image - flat)
    if rng.random() < 0.7:
        faint = faint * rng.uniform(0.26, 0.5) * np.array([1.0, 0.95, 0.95])
    else:
        faint = 0.6 * faint + np.array([0.26, 0.23, 0.22]) * rng.uniform(0.7, 1.1)
    return _over(image, faint.astype(np.float32), opacity), opacity


def _saturation(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Overexposure where tissue is close to the light: red saturates first, so that a white core has a warm fringe."""
    opacity = _region(field, rng, (0.07, 0.2), edge=0.7, rough=1.3, at_border=rng.random() < 0.6)
    soft = image + (ndimage.gaussian_filter(image, (1.5, 1.5, 0)) - image) * opacity[..., None]
    glare = (opacity**2)[..., None]
    lit = soft * (1 + 5 * glare) + np.array([0.62, 0.5, 0.4]) * rng.uniform(0.7, 1.0) * glare
    shoulder = 0.8  # the camera's response bends before it clips
    bent = np.where(lit > shoulder, 1 - (1 - shoulder) * np.exp(-(lit - shoulder) / (1 - shoulder)), lit)
    return _over(image, bent, np.clip(4 * opacity, 0, 1)), opacity


def _artifact(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Miscellaneous: colour channels out of register, lines of the interlaced video, floating debris."""
    if rng.random() < 0.5:
        return _debris(image, field, rng)
    opacity = _region(field, rng, (0.08, 0.16), edge=0.15)
    shift = rng.uniform(0.012, 0.025) * field.shape[1]
    angle = rng.uniform(0, 2 * math.pi)
    broken = image.copy()
    for channel, amount in zip(range(3), (shift, 0.0, -shift), strict=True):
        offset = (amount * math.sin(angle), amount * math.cos(angle))
        broken[..., channel] = ndimage.shift(image[..., channel], offset, order=1, mode="nearest")
    # lines of the second field were taken later; sequential colour lets moving highlights show as coloured ghosts
    comb = int(rng.integers(5, 12))
    broken[::2] = np.roll(broken, comb, axis=1)[::2]
    ghost = smooth_noise(rng, field.shape, 1.6) > 2.0
    for channel, amount in zip(range(3), (1.6, 0.0, -1.6), strict=True):
        offset = (amount * shift * math.sin(angle), amount * shift * math.cos(angle))
        spots = ndimage.shift(ghost.astype(np.float32), offset, order=1)
        broken[..., channel] += 0.55 * ndimage.gaussian_filter(spots, 0.8)
    return _over(image, np.minimum(broken, 1), opacity), opacity


def _debris(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Remains of food and stool: rough, yellow to brown, with a shadow."""
    opacity = _region(field, rng, (0.03, 0.075), edge=0.06, rough=2.2)
    color = np.array([[0.72, 0.55, 0.16], [0.5, 0.36, 0.12], [0.62, 0.6, 0.28]])[rng.integers(3)]
    light = _mean_color(image, opacity).mean() * 1.5 + 0.2
    relief = _relief(opacity, rng)
    matter = color * light * (0.85 + relief + 0.07 * smooth_noise(rng, field.shape, 1.0))[..., None]
    shade = ndimage.shift(ndimage.gaussian_filter(opacity, 2.5), (2.0, 2.0), order=1)
    image = image * (1 - 0.45 * shade[..., None] * (1 - opacity[..., None]))
    return _over(image, np.clip(matter, 0, 1), opacity), opacity


# ---- things in front of the tissue


def _bubbles(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Foam: bubbles of many sizes that touch, each a thin bright rim, a clear middle and a glint."""
    height, width = field.shape
    center = _place(field, rng, 0.04)
    reach = rng.uniform(0.03, 0.11, 2) * width
    count = int(rng.integers(10, 45))
    largest = rng.uniform(0.016, 0.034) * width
    opacity = np.zeros(field.shape, np.float32)
    image = image.copy()
    discs: list[tuple[float, float, float]] = []
    for _ in range(count * 4):
        radius = max(largest * rng.beta(1.2, 3.0), 1.6)
        y, x = center + rng.normal(0, 0.45, 2) * reach
        if not (0 <= y < height and 0 <= x < width and field[int(y), int(x)]):
            continue
        if all(math.hypot(y - b, x - a) > 0.92 * (radius + r) for b, a, r in discs):
            discs.append((y, x, radius))
        if len(discs) == count:
            break
    for y, x, radius in discs:
        rows, columns, distance = _window(field.shape, y, x, radius + 2.5)
        patch = image[rows, columns]
        light = 0.35 + 0.75 * float(patch.mean())
        disc = np.clip(radius + 0.5 - distance, 0, 1)
        rim = np.exp(-(((distance - radius * 0.88) / max(radius * 0.14, 0.6)) ** 2))
        dark = np.exp(-(((distance - radius * 1.12) / max(radius * 0.16, 0.7)) ** 2))
        glint_y, glint_x = y - 0.4 * radius, x - 0.35 * radius
        _, _, glint = _window(field.shape, glint_y, glint_x, radius + 2.5, like=(rows, columns))
        glint = np.clip(max(radius * 0.24, 0.8) + 0.5 - glint, 0, 1)
        inside = patch * (1 - 0.06 * disc[..., None])
        lit = inside + light * (0.42 * rim + 0.95 * glint)[..., None] * np.array([1.0, 0.97, 0.9])
        lit = lit * (1 - 0.3 * dark[..., None] * (1 - disc[..., None]))
        image[rows, columns] = lit
        opacity[rows, columns] = np.maximum(opacity[rows, columns], disc)
    return np.clip(image, 0, 1), opacity


def _instrument(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """A tool that enters from the border of the picture: a shaded shaft, with jaws or a wire loop at its tip."""
    height, width = field.shape
    tip = _place(field, rng, 0.12)
    rows, columns = np.nonzero(field ^ ndimage.binary_erosion(field))
    border = np.stack([rows, columns], 1)
    below = border[border[:, 0] > 0.3 * height]  # working channels open at the lower half of the picture
    source = (below if len(below) else border)[rng.integers(len(below) or len(border))].astype(float)
    along = tip - source
    length = float(np.hypot(*along)) + 1e-6
    if length > 0.65 * width:
        tip = source + along * 0.65 * width / length
    along = (tip - source) / float(np.hypot(*(tip - source)) + 1e-6)
    source = source - along * 0.3 * width  # the shaft goes on beyond the picture
    radius = rng.uniform(0.017, 0.04) * width
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bend = rng.uniform(-0.12, 0.12)
    t = (y - source[0]) * along[0] + (x - source[1]) * along[1]
    total = float(np.hypot(*(tip - source)))
    s = (y - source[0]) * -along[1] + (x - source[1]) * along[0] + bend * t * (1 - t / total)
    thickness = radius * (1.25 - 0.35 * np.clip(t / total, 0, 1))  # nearer parts look thicker
    shaft = np.clip(thickness - np.abs(s) + 0.5, 0, 1) * np.clip(total - t + 0.5, 0, 1)
    across = np.clip(s / np.maximum(thickness, 1e-3), -1, 1)
    body = np.array([[0.1, 0.1, 0.11], [0.75, 0.76, 0.78], [0.16, 0.3, 0.62], [0.82, 0.84, 0.8], [0.4, 0.42, 0.45]])
    color = body[rng.integers(len(body))]
    shading = 0.25 + 0.75 * np.sqrt(1 - across**2)
    gloss = np.exp(-(((across + rng.uniform(0.1, 0.5)) / 0.16) ** 2)) * rng.uniform(0.3, 0.8)
    if rng.random() < 0.4:  # a coiled sheath
        shading = shading * (0.82 + 0.18 * np.cos(2 * math.pi * t / max(radius * 0.55, 2.2)))
    metal = (color * shading[..., None] + gloss[..., None]) * _light(image)
    opacity, metal = _tip(shaft, metal, t - total, s, radius, rng)
    opacity = (opacity * ndimage.gaussian_filter(field.astype(np.float32), 0.8)).astype(np.float32)
    shade = ndimage.shift(ndimage.gaussian_filter(opacity, 0.6 * radius + 1), (0.5 * radius, 0.6 * radius), order=1)
    image = image * (1 - 0.4 * shade[..., None] * (1 - opacity[..., None]))
    metal = np.clip(metal + 0.015 * rng.standard_normal((height, width, 1)), 0, 1)
    return _over(image, ndimage.gaussian_filter(metal, (0.6, 0.6, 0)), opacity), opacity


def _tip(shaft: Any, metal: Any, beyond: Any, s: Any, radius: float, rng: np.random.Generator) -> tuple[Any, Any]:
    """Jaws, a loop or a needle beyond the end of the shaft; `beyond` runs along it, `s` across."""
    kind = rng.integers(3)
    size = radius * rng.uniform(3.0, 5.0)
    if kind == 0:
        open_angle = rng.uniform(0.05, 0.35)
        half = 0.35 * radius * np.clip(1.2 - beyond / size, 0, 1)
        arms = np.maximum(*(half - np.abs(s - side * (open_angle * beyond + 0.3 * radius)) for side in (-1, 1)))
        wire = np.clip(arms + 0.5, 0, 1) * ((beyond > -1) & (beyond < size))
    elif kind == 1:
        ratio = rng.uniform(0.35, 0.6)
        loop = np.hypot(beyond / size - 1, s / (ratio * size))
        wire = np.clip(1.3 - np.abs(loop - 1) * ratio * size, 0, 1) * (beyond > -1)
    else:
        wire = np.clip(0.28 * radius - np.abs(s) + 0.8, 0, 1) * ((beyond > -1) & (beyond < size))
    wire_color = np.array([0.66, 0.66, 0.68]) * (0.6 + 0.5 * np.clip(1 - np.abs(s) / (radius + 1), 0, 1))[..., None]
    fresh = wire * (1 - shaft)
    return np.maximum(shaft, wire), metal * (1 - fresh[..., None]) + wire_color * fresh[..., None]


def _specularity(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Mirror reflections of the light on wet tissue: small white flecks, one or a few along a fold."""
    width = field.shape[1]
    center = _place(field, rng, 0.03)
    rows, columns, _ = _window(field.shape, center[0], center[1], 0.16 * width)
    y, x = np.mgrid[rows, columns].astype(np.float32)
    axis = rng.uniform(0, math.pi)
    roughness = smooth_noise(rng, y.shape, 2.0)
    flecks = np.zeros(y.shape, np.float32)
    for number in range(int(rng.integers(2, 9))):
        long = 0.006 * width * math.exp(rng.uniform(0, 1.35))
        short = max(long * rng.uniform(0.3, 0.8), 1.3)
        spread = 0.035 * width if number else 0.0
        across, along = rng.normal(0, 0.3) * spread, rng.normal(0, 1.0) * spread
        cy = center[0] + along * math.sin(axis) + across * math.cos(axis)
        cx = center[1] + along * math.cos(axis) - across * math.sin(axis)
        angle = axis + rng.normal(0, 0.4)
        u = ((x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)) / long
        v = (-(x - cx) * math.sin(angle) + (y - cy) * math.cos(angle)) / short
        signed = (1 - np.hypot(u, v) + 0.28 * roughness) * short
        flecks = np.maximum(flecks, np.clip(signed + 0.5, 0, 1) * (np.hypot(u, v) < 2))
    flecks *= field[rows, columns]
    opacity = np.zeros(field.shape, np.float32)
    opacity[rows, columns] = flecks
    patch = image[rows, columns]
    white = np.array([1.0, 0.99, 0.96], np.float32) * rng.uniform(0.93, 1.0)
    glowing = patch + 0.35 * ndimage.gaussian_filter(flecks, 2.2)[..., None] * (white - patch)
    image = image.copy()
    image[rows, columns] = _over(glowing, white, ndimage.gaussian_filter(flecks, 0.45))
    return image, opacity


_ARTEFACTS: dict[str, Callable[[Map, Any, np.random.Generator], Drawn]] = {
    "blur": _blur,
    "contrast": _contrast,
    "saturation": _saturation,
    "artifact": _artifact,
    "bubbles": _bubbles,
    "instrument": _instrument,
    "specularity": _specularity,
}


# ---- shapes


def _region(
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
    center = _place(field, rng, 0.05)
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


def _place(field: Any, rng: np.random.Generator, margin: float) -> NDArray[np.float64]:
    """A random point of the tissue (row, column), away from its border where possible."""
    inner = ndimage.binary_erosion(field, iterations=max(int(margin * field.shape[1]), 1))
    rows, columns = np.nonzero(inner if inner.any() else field)
    pick = rng.integers(len(rows))
    return np.array([rows[pick], columns[pick]], np.float64)


def _window(
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
    fine = ndimage.zoom(coarse, step, order=1) if step > 1 else coarse
    return fine[: shape[0], : shape[1]].astype(np.float32)


def _relief(opacity: Map, rng: np.random.Generator) -> Map:
    """Light from above on a rough surface, about -0.3 to 0.3."""
    surface = ndimage.gaussian_filter(opacity, 2.0) * 3 + 0.5 * smooth_noise(rng, opacity.shape, 2.0)
    return np.clip(-0.35 * np.gradient(surface, axis=0), -0.35, 0.35).astype(np.float32)


def _light(image: Map) -> Any:
    """How brightly the scope lights each place, 0.35 to 1.1 ``(H, W, 1)``."""
    coarse = ndimage.gaussian_filter(image.max(2)[::4, ::4], image.shape[1] / 60)
    smooth = ndimage.zoom(coarse, np.divide(image.shape[:2], coarse.shape), order=1)
    return np.clip(0.3 + 1.1 * smooth, 0.35, 1.1)[..., None]


def _mean_color(image: Map, weight: Map) -> Any:
    return (image * weight[..., None]).sum((0, 1)) / max(float(weight.sum()), 1e-6)


def _over(below: Map, above: Any, opacity: Map) -> Map:
    return (below + (above - below) * opacity[..., None]).astype(np.float32)


# ---- boxes


def _extent(opacity: Map) -> Box | None:
    """The box of what is more than half opaque; None where that is next to nothing."""
    rows, columns = np.nonzero(opacity > 0.5)
    if len(rows) < 12:
        return None
    x1, y1, x2, y2 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return (int(x1), int(y1), int(x2), int(y2)) if min(x2 - x1, y2 - y1) >= 5 else None


def _crowded(box: Box, name: str, boxes: Sequence[Box], labels: Sequence[int]) -> bool:
    """Whether another artefact of the class lies there already, so that two could not be told apart."""
    for other, label in zip(boxes, labels, strict=True):
        if EAD_CLASSES[label] == name:
            width = min(box[2], other[2]) - max(box[0], other[0])
            height = min(box[3], other[3]) - max(box[1], other[1])
            if width > -4 and height > -4:
                return True
    return False
