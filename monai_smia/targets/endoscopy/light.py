"""Artefacts of light and lens: they change what is there. Each draws onto a frame and tells where."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import ndimage

from monai_smia.targets.endoscopy.shapes import Drawn, Map, mean_color, over, region, relief, smooth_noise


def blur(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Motion blur of a region: the scope moved, or the tissue."""
    height, width = field.shape
    opacity = region(field, rng, (0.25, 0.45), edge=0.1)
    reach = max(int(rng.uniform(0.025, 0.055) * width), 3)
    angle = rng.uniform(0, math.pi)
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    moved = np.zeros_like(image)
    for offset in range(-reach, reach + 1):
        down, right = reach + round(offset * math.sin(angle)), reach + round(offset * math.cos(angle))
        moved += padded[down : down + height, right : right + width]
    moved = ndimage.gaussian_filter(moved / (2 * reach + 1), (1.2, 1.2, 0))
    return over(image, moved, opacity), opacity


def contrast(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Poor contrast: a region in the shade whose texture is lost, sometimes behind a haze."""
    opacity = region(field, rng, (0.16, 0.34), edge=0.7, rough=1.3)
    flat = ndimage.gaussian_filter(image, (6, 6, 0))
    level = mean_color(image, opacity)
    faint = level + 0.45 * (flat - level) + 0.15 * (image - flat)
    if rng.random() < 0.7:
        faint = faint * rng.uniform(0.26, 0.5) * np.array([1.0, 0.95, 0.95])
    else:
        faint = 0.6 * faint + np.array([0.26, 0.23, 0.22]) * rng.uniform(0.7, 1.1)
    return over(image, faint.astype(np.float32), opacity), opacity


def saturation(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Overexposure where tissue is close to the light: red saturates first, so that a white core has a warm fringe."""
    opacity = region(field, rng, (0.07, 0.2), edge=0.7, rough=1.3, at_border=rng.random() < 0.6)
    soft = image + (ndimage.gaussian_filter(image, (1.5, 1.5, 0)) - image) * opacity[..., None]
    glare = (opacity**2)[..., None]
    lit = soft * (1 + 5 * glare) + np.array([0.62, 0.5, 0.4]) * rng.uniform(0.7, 1.0) * glare
    shoulder = 0.8  # the camera's response bends before it clips
    bent = np.where(lit > shoulder, 1 - (1 - shoulder) * np.exp(-(lit - shoulder) / (1 - shoulder)), lit)
    return over(image, bent, np.clip(4 * opacity, 0, 1)), opacity


def artifact(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Miscellaneous: color channels out of register, lines of the interlaced video, floating debris."""
    if rng.random() < 0.5:
        return _debris(image, field, rng)
    opacity = region(field, rng, (0.08, 0.16), edge=0.15)
    shift = rng.uniform(0.012, 0.025) * field.shape[1]
    angle = rng.uniform(0, 2 * math.pi)
    broken = image.copy()
    for channel, amount in zip(range(3), (shift, 0.0, -shift), strict=True):
        offset = (amount * math.sin(angle), amount * math.cos(angle))
        broken[..., channel] = ndimage.shift(image[..., channel], offset, order=1, mode="nearest")
    # lines of the second field were taken later; sequential color lets moving highlights show as colored ghosts
    comb = int(rng.integers(5, 12))
    broken[::2] = np.roll(broken, comb, axis=1)[::2]
    ghost = smooth_noise(rng, field.shape, 1.6) > 2.0
    for channel, amount in zip(range(3), (1.6, 0.0, -1.6), strict=True):
        offset = (amount * shift * math.sin(angle), amount * shift * math.cos(angle))
        spots = ndimage.shift(ghost.astype(np.float32), offset, order=1)
        broken[..., channel] += 0.55 * ndimage.gaussian_filter(spots, 0.8)
    return over(image, np.minimum(broken, 1), opacity), opacity


def _debris(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Remains of food and stool: rough, yellow to brown, with a shadow."""
    opacity = region(field, rng, (0.03, 0.075), edge=0.06, rough=2.2)
    color = np.array([[0.72, 0.55, 0.16], [0.5, 0.36, 0.12], [0.62, 0.6, 0.28]])[rng.integers(3)]
    light = mean_color(image, opacity).mean() * 1.5 + 0.2
    rough = relief(opacity, rng)
    matter = color * light * (0.85 + rough + 0.07 * smooth_noise(rng, field.shape, 1.0))[..., None]
    shade = ndimage.shift(ndimage.gaussian_filter(opacity, 2.5), (2.0, 2.0), order=1)
    image = image * (1 - 0.45 * shade[..., None] * (1 - opacity[..., None]))
    return over(image, np.clip(matter, 0, 1), opacity), opacity
