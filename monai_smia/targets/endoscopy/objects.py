"""Artefacts in front of the tissue: bubbles, tools and mirror reflections. Each draws onto a frame and tells where."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import ndimage

from monai_smia.targets.endoscopy.shapes import Drawn, Map, light_of, over, place, smooth_noise, window


def bubbles(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Foam: bubbles of many sizes that touch, each a thin bright rim, a clear middle and a glint."""
    height, width = field.shape
    center = place(field, rng, 0.04)
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
        rows, columns, distance = window(field.shape, y, x, radius + 2.5)
        patch = image[rows, columns]
        light = 0.35 + 0.75 * float(patch.mean())
        disc = np.clip(radius + 0.5 - distance, 0, 1)
        rim = np.exp(-(((distance - radius * 0.88) / max(radius * 0.14, 0.6)) ** 2))
        dark = np.exp(-(((distance - radius * 1.12) / max(radius * 0.16, 0.7)) ** 2))
        glint_y, glint_x = y - 0.4 * radius, x - 0.35 * radius
        _, _, glint = window(field.shape, glint_y, glint_x, radius + 2.5, like=(rows, columns))
        glint = np.clip(max(radius * 0.24, 0.8) + 0.5 - glint, 0, 1)
        inside = patch * (1 - 0.06 * disc[..., None])
        lit = inside + light * (0.42 * rim + 0.95 * glint)[..., None] * np.array([1.0, 0.97, 0.9])
        lit = lit * (1 - 0.3 * dark[..., None] * (1 - disc[..., None]))
        image[rows, columns] = lit
        opacity[rows, columns] = np.maximum(opacity[rows, columns], disc)
    return np.clip(image, 0, 1), opacity


def instrument(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """A tool that enters from the border of the picture: a shaded shaft, with jaws or a wire loop at its tip."""
    height, width = field.shape
    tip = place(field, rng, 0.12)
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
    metal = (color * shading[..., None] + gloss[..., None]) * light_of(image)
    opacity, metal = _tip(shaft, metal, t - total, s, radius, rng)
    opacity = (opacity * ndimage.gaussian_filter(field.astype(np.float32), 0.8)).astype(np.float32)
    shade = ndimage.shift(ndimage.gaussian_filter(opacity, 0.6 * radius + 1), (0.5 * radius, 0.6 * radius), order=1)
    image = image * (1 - 0.4 * shade[..., None] * (1 - opacity[..., None]))
    metal = np.clip(metal + 0.015 * rng.standard_normal((height, width, 1)), 0, 1)
    return over(image, ndimage.gaussian_filter(metal, (0.6, 0.6, 0)), opacity), opacity


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


def specularity(image: Map, field: Any, rng: np.random.Generator) -> Drawn:
    """Mirror reflections of the light on wet tissue: small white flecks, one or a few along a fold."""
    width = field.shape[1]
    center = place(field, rng, 0.03)
    rows, columns, _ = window(field.shape, center[0], center[1], 0.16 * width)
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
    image[rows, columns] = over(glowing, white, ndimage.gaussian_filter(flecks, 0.45))
    return image, opacity
