"""Synthetic polyps, drawn onto endoscopy frames with exact boxes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monai_smia.targets.endoscopy.artefacts import Box, are_apart, checked_frame, extent
from monai_smia.targets.endoscopy.clean import tissue_field
from monai_smia.targets.endoscopy.shapes import Drawn, Map, mean_color, over, place, smooth_noise

__all__ = ["add_polyps"]

# Colors beside that of the mucosa around: redder, paler, darker, yellower.
_TONES = np.array([[1.0, 0.82, 0.8], [1.05, 1.0, 1.0], [0.95, 0.7, 0.72], [1.1, 1.08, 1.0]])


def add_polyps(frame: Map, *, seed: int = 0) -> tuple[Map, NDArray[np.float32]]:
    """Draw one or two polyps without a stalk: lit domes with a shaded foot and small highlights.

    Args:
        frame: ``(H, W, 3)`` in [0, 1], such as :func:`mucosa`.
        seed: a non-negative integer; the same seed draws the same polyps.

    Returns:
        The frame, and the boxes ``(N, 4)``: x1, y1, x2, y2 in pixels, x along the width, x2 and y2 exclusive. There is
        none where the frame shows too little tissue.

    Raises:
        ValueError: if the frame is not ``(H, W, 3)`` in [0, 1] with both sides at least 64.

    Example:
        >>> image, boxes = add_polyps(np.full((96, 128, 3), 0.5, np.float32), seed=1)
        >>> image.shape, boxes.shape[1], len(boxes) >= 1
        ((96, 128, 3), 4, True)
    """
    image = checked_frame(frame)
    field = tissue_field(image)
    rng = np.random.default_rng(seed)
    boxes: list[Box] = []
    if field.mean() > 0.1:
        for _ in range(int(rng.integers(1, 3))):
            drawn, opacity = _polyp(image, field, rng)
            box = extent(opacity)
            if box is not None and all(are_apart(box, other) for other in boxes):
                image = drawn
                boxes.append(box)
    return np.clip(image, 0, 1), np.array(boxes, np.float32).reshape(-1, 4)


def _polyp(image: Map, field: NDArray[np.bool_], rng: np.random.Generator) -> Drawn:
    shape, scale = field.shape, min(field.shape)
    radius, ratio, turn = rng.uniform(0.09, 0.2) * scale, rng.uniform(0.75, 1.3), rng.uniform(0, math.pi)
    row, column = place(field, rng, 0.06)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = y - row, x - column

    # the foot: an ellipse with lumps; the dome: half of an ellipsoid on it
    u = (x * math.cos(turn) + y * math.sin(turn)) / (radius * ratio)
    v = (y * math.cos(turn) - x * math.sin(turn)) / (radius / ratio)
    angle = np.arctan2(v, u)
    lumps = [a * np.sin(n * angle + rng.uniform(0, math.tau)) for n, a in ((2, 0.08), (3, 0.05))]
    distance = np.hypot(u, v) / (1 + sum(lumps))  # 1 at the foot's edge
    opacity = (np.clip((1 - distance) * radius / 2 + 0.5, 0, 1) * field).astype(np.float32)
    dome = ndimage.gaussian_filter(np.sqrt(np.clip(1 - distance**2, 0, 1)), max(0.04 * radius, 0.7))

    # the scope lights what faces it
    slope_y, slope_x = np.gradient(0.8 * radius * dome)
    tilt_y, tilt_x = rng.uniform(-0.5, 0.2), rng.uniform(-0.35, 0.35)
    facing = (1 - slope_y * tilt_y - slope_x * tilt_x) / np.sqrt(1 + slope_y**2 + slope_x**2)
    facing = np.clip(facing / math.hypot(1, tilt_y, tilt_x), 0, 1)
    around = ndimage.gaussian_filter(image, (0.5 * radius, 0.5 * radius, 0))[int(row), int(column)]
    color = mean_color(image, field.astype(np.float32)) * _TONES[rng.integers(len(_TONES))]
    color = color / color.mean() * np.clip(around.mean() * rng.uniform(1.15, 1.5), 0.25, 0.75)
    surface = 1 + 0.06 * smooth_noise(rng, shape, max(0.12 * radius, 1.5)) + 0.04 * smooth_noise(rng, shape, 1.2)
    body = color * (0.35 + 0.75 * facing * surface)[..., None]

    shade = np.exp(-(((distance - 1.05) / 0.12) ** 2)) * (distance > 0.95) * np.clip(0.6 + 0.5 * y / radius, 0, 1)
    drawn = over((image * (1 - 0.35 * shade)[..., None]).astype(np.float32), body, opacity)
    for _ in range(int(rng.integers(1, 4))):
        glint_y, glint_x = rng.normal(-0.35, 0.12), rng.normal(rng.uniform(-0.3, 0.3), 0.2)
        height, width = rng.uniform(0.04, 0.1), rng.uniform(0.05, 0.14)
        glint = np.exp(-(((y / radius - glint_y) / height) ** 2) - ((x / radius - glint_x) / width) ** 2)
        drawn = over(drawn, 1.0, (0.9 * glint * opacity).astype(np.float32))
    return drawn, opacity
