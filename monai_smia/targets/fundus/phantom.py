"""Seeded fundus photographs: demo data that needs no download, and healthy eyes to draw lesions into."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from monai_smia.targets.fundus.lesions import draw_lesions

__all__ = ["FundusPhantom", "fundus_phantom", "write_fundus_phantoms"]

Plane = NDArray[np.float32]

FOVEA_TO_DISC = 0.27  # of the field's width; about two and a half disc diameters
DISC_RADIUS = 0.055
BLOOD = np.array([0.70, 0.42, 0.50], np.float32)  # what a wide vessel leaves of red, green and blue light


@dataclass(frozen=True)
class FundusPhantom:
    """One synthetic fundus photograph.

    Attributes:
        image: uint8 RGB, shape (H, W, 3).
        field: bool (H, W), the field of view.
        lesions: float32 (3, H, W) in [0, 1]: dark lesions, bright lesions, new vessels.
        grade: 0-4.
    """

    image: NDArray[np.uint8]
    field: NDArray[np.bool_]
    lesions: Plane
    grade: int


def fundus_phantom(size: int = 512, *, grade: int = 0, seed: int = 0) -> FundusPhantom:
    """Photograph the eye of a random patient.

    The seed decides eye and camera: side, pigment, illumination, place of disc and fovea, vessels. The lesions that
    make the grade are drawn by `draw_lesions` from a stream of their own: the same seed is the same eye in every grade.

    Args:
        size: width and height in pixels, at least 64.
        grade: diabetic retinopathy, 0 (none) to 4 (proliferative).
        seed: a non-negative integer.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> phantom = fundus_phantom(96, grade=3, seed=1)
        >>> phantom.image.shape, str(phantom.image.dtype), bool(phantom.lesions.any())
        ((96, 96, 3), 'uint8', True)
        >>> bool(fundus_phantom(96, seed=1).lesions.any())
        False
    """
    if size < 64:
        raise ValueError(f"size must be at least 64 pixels, got {size}.")
    if grade not in range(5):
        raise ValueError(f"grade must be 0, 1, 2, 3 or 4, got {grade}.")
    eye, disease = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    x, y = (x - (size - 1) / 2) / size, (y - (size - 1) / 2) / size  # the field reaches from -0.5 to 0.5
    field = (np.hypot(x, y) < 0.495) & (np.abs(y) < eye.uniform(0.40, 0.5))

    side = 1.0 if eye.random() < 0.5 else -1.0
    disc = np.array([side * eye.uniform(0.24, 0.33), eye.uniform(-0.06, 0.04)])
    fovea = disc + [-side * FOVEA_TO_DISC * eye.uniform(0.95, 1.1), eye.uniform(0.02, 0.05)]

    image = _background(eye, x, y)
    _macula(eye, image, x - fovea[0], y - fovea[1])
    _disc(eye, image, x - disc[0], y - disc[1])
    image *= _vessels(eye, size, disc, fovea, side)
    image *= 1 - 0.5 * eye.uniform(0.2, 0.9) * (np.hypot(x - eye.normal(0, 0.08), y - eye.normal(0, 0.08)) * 2) ** 2.5
    image = np.clip(image, 0, 1).astype(np.float32)
    lesions = draw_lesions(image, field & (np.hypot(x, y) < 0.47), grade, disease)

    image = ndimage.gaussian_filter(image, (0, *[size / 512 * eye.uniform(0.3, 0.9)] * 2))
    image += eye.normal(0, 0.006, image.shape).astype(np.float32)
    image *= field
    pixels = np.clip(np.rint(image.transpose(1, 2, 0) * 255), 0, 255).astype(np.uint8)
    return FundusPhantom(pixels, field, lesions, grade)


def _background(eye: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """Pigment, choroidal mottling, and the uneven light of a camera."""
    size = len(x)
    pale, brightness = eye.uniform(0, 1), eye.uniform(0.7, 1.1)
    red, green = 0.75 + 0.1 * pale, 0.30 + 0.22 * pale
    color = np.array([red, green, green * eye.uniform(0.15, 0.75)], np.float32) * brightness
    coarse = _noise(eye, size, 0.12)
    fine = _noise(eye, size, 0.012)
    tone = 1 + 0.07 * coarse + eye.uniform(0.01, 0.03) * fine
    tilt = 1 + eye.normal(0, 0.15) * x + eye.normal(0, 0.15) * y
    return (color[:, None, None] * (tone * tilt)[None]).astype(np.float32)


def _noise(eye: np.random.Generator, size: int, scale: float) -> NDArray[np.floating[Any]]:
    noise = ndimage.gaussian_filter(eye.normal(0, 1, (size, size)), size * scale)
    return noise / noise.std()


def _macula(eye: np.random.Generator, image: Plane, x: Plane, y: Plane) -> None:
    distance = np.hypot(x, y)
    depth = eye.uniform(0.15, 0.4)
    image *= 1 - depth * np.exp(-((distance / 0.055) ** 2)) * np.array([0.6, 1, 1], np.float32)[:, None, None]
    image *= 1 - 0.12 * np.exp(-((distance / 0.13) ** 2))


def _disc(eye: np.random.Generator, image: Plane, x: Plane, y: Plane) -> None:
    radius = DISC_RADIUS * eye.uniform(0.9, 1.2)
    distance = np.hypot(x, y / eye.uniform(1.0, 1.12)) / radius
    glow = np.exp(-((distance / 2.2) ** 2)) * eye.uniform(0, 0.25)
    image *= 1 + glow
    disc = 1 / (1 + np.exp((distance - 1) / 0.06))
    cup = 1 / (1 + np.exp((distance - eye.uniform(0.3, 0.55)) / 0.1))
    base = image.mean((1, 2))
    rim = np.minimum(np.array([base[0] * 1.25, base[1] * 1.75, base[2] * 1.8 + 0.08], np.float32), 0.97)
    pit = np.minimum(rim * np.array([1.08, 1.25, 1.45], np.float32), 1.0)
    for c in range(3):
        image[c] += disc * (rim[c] - image[c])
        image[c] += 0.8 * cup * (pit[c] - image[c])


@dataclass
class _Tree:
    """Vessels, walked step by step; lengths in shares of the field's width."""

    eye: np.random.Generator
    depth: Plane
    fovea: NDArray[np.float64]
    step: float = 0.004

    def arcade(self, start: NDArray[np.float64], vertical: float, side: float, width: float, strength: float) -> None:
        """One of the large vessels that leave the disc upwards or downwards and arch around the macula."""
        radius = self.eye.uniform(0.24, 0.33)
        turning = -vertical * side  # which way round the fovea
        angle = math.atan2(vertical, -side * self.eye.uniform(-0.2, 0.5))

        def heading(place: NDArray[np.float64]) -> float:
            away = place - self.fovea
            tangent = math.atan2(away[1], away[0]) - turning * math.pi / 2
            return tangent - turning * float(np.clip(3 * (math.hypot(*away) / radius - 1), -0.9, 0.9))

        self._walk(start, angle, width, strength, heading, length=int(self.eye.uniform(110, 190)), level=0)

    def straight(
        self, start: NDArray[np.float64], angle: float, width: float, strength: float, length: int, level: int
    ) -> None:
        """A vessel that keeps its direction, more or less."""
        self._walk(start, angle, width, strength, lambda _: angle, length=length, level=level)

    def _walk(
        self,
        start: NDArray[np.float64],
        angle: float,
        width: float,
        strength: float,
        heading: Callable[[NDArray[np.float64]], float],
        *,
        length: int,
        level: int,
    ) -> None:
        eye, size, place, wobble = self.eye, len(self.depth), start.astype(np.float64), 0.0
        for number in range(length):
            wobble = 0.92 * wobble + eye.normal(0, 0.016)
            angle += 0.07 * math.sin(heading(place) - angle) + wobble
            if level > 0 and math.hypot(*(place - self.fovea)) < 0.08:  # the fovea has no vessels
                return
            place = place + self.step * np.array([math.cos(angle), math.sin(angle)])
            if max(abs(place[0]), abs(place[1])) > 0.5:
                return
            _stamp(self.depth, place, max(width, 0.0012) * size, strength * min(1.0, 0.4 + width / 0.009))
            width *= 0.9968
            if level < 3 and number > 8 and width > 0.0016 and eye.random() < 0.05:
                turn = (1 if eye.random() < 0.5 else -1) * eye.uniform(0.5, 1.0)
                thin = width * eye.uniform(0.45, 0.7)
                self.straight(place, angle + turn, thin, strength, int(eye.uniform(20, 80)), level + 1)
                width *= 0.95


def _vessels(
    eye: np.random.Generator, size: int, disc: NDArray[np.float64], fovea: NDArray[np.float64], side: float
) -> Plane:
    """Light that passes the arcades of arteries and veins and the smaller vessels of the nasal side, as a share."""
    tree = _Tree(eye, np.zeros((size, size), np.float32), fovea)
    for vertical in (-1.0, 1.0):
        for width, strength in ((0.0095, 1.0), (0.0070, 0.75)):  # a vein and an artery
            start = disc + eye.normal(0, 0.006, 2)
            tree.arcade(start, vertical, side, width * eye.uniform(0.85, 1.1), strength)
        for _ in range(2):
            angle = math.atan2(vertical * eye.uniform(0.3, 1.6), side)
            tree.straight(disc, angle, 0.005 * eye.uniform(0.7, 1.2), 0.8, 120, 1)
    for _ in range(3):
        tree.straight(disc, math.atan2(eye.uniform(-0.6, 0.6), -side), 0.003, 0.7, 50, 2)
    depth = ndimage.gaussian_filter(tree.depth, size * 0.0008)
    return np.asarray(1 - (1 - BLOOD)[:, None, None] * eye.uniform(0.7, 1.0) * depth[None], np.float32)


def _stamp(depth: Plane, place: NDArray[np.float64], width: float, strength: float) -> None:
    size = len(depth)
    column, row = (place + 0.5) * size - 0.5
    reach = math.ceil(width / 2 + 1.5)
    top, left = int(row) - reach, int(column) - reach
    if top < 0 or left < 0 or top + 2 * reach + 1 > size or left + 2 * reach + 1 > size:
        return
    window = (slice(top, top + 2 * reach + 1), slice(left, left + 2 * reach + 1))
    dy = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None] - np.float32(row)
    dx = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None, :] - np.float32(column)
    spot = np.clip(width / 2 + 0.5 - np.sqrt(dx**2 + dy**2), 0, 1) * np.float32(strength)
    depth[window] = np.maximum(depth[window], spot)


def write_fundus_phantoms(
    folder: str | os.PathLike[str],
    per_grade: int = 2,
    *,
    grades: Sequence[int] = (0, 1, 2, 3, 4),
    size: int = 512,
    seed: int = 0,
) -> Path:
    """Write phantoms of every grade as a dataset in the ``labels.csv`` layout of `fundus_datalist`.

    The same arguments write the same files.

    Args:
        folder: made if it does not exist.
        per_grade: photographs of each grade, at least 1.
        grades: which ones.
        size: width and height in pixels.
        seed: of the first eye; every photograph shows another.

    Returns:
        The folder.

    Raises:
        ValueError: if `per_grade` is below 1.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as tmp:
        ...     sorted(path.name for path in write_fundus_phantoms(tmp, 1, size=64).iterdir())[:3]
        ['grade0_eye0.png', 'grade1_eye1.png', 'grade2_eye2.png']
    """
    if per_grade < 1:
        raise ValueError(f"per_grade must be at least 1, got {per_grade}.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(len(grades) * per_grade):
        grade, eye = grades[number % len(grades)], seed + number
        path = folder / f"grade{grade}_eye{eye}.png"
        Image.fromarray(fundus_phantom(size, grade=grade, seed=eye).image).save(path)
        rows.append({"file": path.name, "dr_grade": grade, "split": "test"})
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file", "dr_grade", "split"])
        writer.writeheader()
        writer.writerows(rows)
    return folder
