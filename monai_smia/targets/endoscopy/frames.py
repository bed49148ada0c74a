"""Endoscopy frames: procedural mucosa, and frames scaled to what a detector sees."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from monai_smia.dicom.files import looks_like_dicom
from monai_smia.dicom.picture_loading import FRAME
from monai_smia.dicom.picture_writer import write_dicom_picture
from monai_smia.dicom.pictures import read_dicom_picture
from monai_smia.files import replacing
from monai_smia.targets.endoscopy.shapes import Map, smooth_noise
from monai_smia.transforms.photographs import check_picture

__all__ = ["fitted_frames", "mucosa"]


def mucosa(size: Sequence[int] = (256, 192), *, seed: int = 0) -> Map:
    """A frame of an empty colon: a lit tube with folds, vessels and a dark end, in the octagon of an endoscope.

    Args:
        size: width and height in pixels, each at least 64.
        seed: a non-negative integer.

    Returns:
        float32 ``(height, width, 3)`` in [0, 1].

    Example:
        >>> mucosa((96, 80), seed=1).shape
        (80, 96, 3)
    """
    width, height = checked_size(size)
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    scale = min(width, height)
    u, v = (x - width / 2) / scale, (y - height / 2) / scale

    # the tube: depth grows towards the lumen; its walls are bent by slow noise
    lumen = rng.uniform(-0.32, 0.32, 2)
    bend = [0.07 * smooth_noise(rng, (height, width), scale / 7) for _ in range(2)]
    du, dv = u - lumen[0] + bend[0], v - lumen[1] + bend[1]
    radius = np.hypot(du, dv * rng.uniform(0.8, 1.25)) + 1e-3
    depth = 1 / (radius + 0.08)
    angle = np.arctan2(dv, du)

    # folds: rings across the tube, thick at one side, each with a lit edge and a shaded back
    rings = math.tau * (rng.uniform(1.2, 2.4) * np.log(depth) + rng.random())
    rings = rings + 0.9 * np.sin(3 * angle + rng.uniform(0, math.tau)) * rng.uniform(0.2, 0.8)
    rings = rings + 0.7 * smooth_noise(rng, (height, width), scale / 9)
    fold = np.sin(rings) + 0.35 * np.sin(2 * rings + 0.8)
    strength = rng.uniform(0.1, 0.3) * np.clip(radius * 2.2, 0.15, 1)
    light = np.clip((1.25 - 0.17 * depth * rng.uniform(0.7, 1.1)), 0.03, 1.15) * (1 + strength * fold)
    light *= 1 - rng.uniform(0.15, 0.4) * np.hypot(u, v) ** 2
    light *= 1 + 0.08 * smooth_noise(rng, (height, width), scale / 12)

    base = np.array([[0.82, 0.48, 0.36], [0.86, 0.56, 0.38], [0.78, 0.5, 0.46], [0.72, 0.46, 0.28]])[rng.integers(4)]
    tint = 1 + 0.05 * np.stack([smooth_noise(rng, (height, width), scale / 10) for _ in range(3)], 2)
    image = base * tint * light[..., None] * rng.uniform(0.85, 1.15)
    image = image * (1 - _vessels(rng, (height, width), radius)[..., None] * np.array([0.16, 0.4, 0.36]))
    image = image * (1 + 0.025 * smooth_noise(rng, (height, width), 1.2)[..., None])
    image += 0.008 * rng.standard_normal(image.shape)
    image = np.clip(image, 0, 1) ** rng.uniform(0.9, 1.2)
    return (np.clip(image, 0, 1) * _aperture(rng, width, height)[..., None]).astype(np.float32)


def fitted_frames(
    items: Sequence[Mapping[str, Any]], folder: str | os.PathLike[str], *, size: Sequence[int] = (256, 192)
) -> list[dict[str, Any]]:
    """Write frames scaled to fit a size: what a detector sees, what is attacked and what is stored are then one file.

    Args:
        items: frames with boxes, as from :func:`endoscopy_datalist`.
        folder: where to write ``<case>.png``, of DICOM ``<case>.dcm``, a derived picture of one frame; made if absent.
        size: width and height to fit a frame into, in pixels, each at least 64.

    Returns:
        The items with the new files and the scaled boxes.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as tmp:
        ...     Image.new("RGB", (200, 100)).save(f"{tmp}/large.png")
        ...     item = {"image": f"{tmp}/large.png", "label": {"boxes": [[20, 10, 60, 50]], "labels": [0]}, "case": "a"}
        ...     fitted = fitted_frames([item], f"{tmp}/small", size=(100, 100))[0]
        ...     Image.open(fitted["image"]).size, fitted["label"]["boxes"]
        ((100, 50), [[10.0, 5.0, 30.0, 25.0]])
    """
    fit, folder = checked_size(size), Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    fitted = []
    for item in items:
        dicom = looks_like_dicom(Path(item["image"]))
        path = folder / f"{item['case']}.{'dcm' if dicom else 'png'}"
        old, new = (_fitted_dicom if dicom else _fitted_file)(item, path, fit)
        known = {name: value for name, value in item.items() if name != FRAME}  # which the new file has one of
        fitted.append({**known, "image": str(path)})
        if "label" in item:
            scale = [after / before for after, before in zip(new, old, strict=True)] * 2
            boxes = [[v * s for v, s in zip(box, scale, strict=True)] for box in item["label"]["boxes"]]
            fitted[-1]["label"] = {**item["label"], "boxes": boxes}
    return fitted


def _fitted_file(item: Mapping[str, Any], path: Path, fit: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height before and after."""
    with Image.open(item["image"]) as image:
        check_picture(image, Path(item["image"]).name)
        old, small = image.size, fit_picture(image, fit)
    with replacing(path) as temporary:
        small.save(temporary, format="png")
    return old, small.size


def _fitted_dicom(item: Mapping[str, Any], path: Path, fit: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height before and after, of a frame of DICOM that becomes a derived picture."""
    picture = read_dicom_picture(item["image"], item.get(FRAME))
    frame = Image.fromarray(picture.pixels)
    small = fit_picture(frame, fit)
    told = f"frame {picture.frame} of {frame.width} x {frame.height} pixels, scaled to {small.width} x {small.height}"
    write_dicom_picture(picture, np.asarray(small), path, description=told, adversarial=False)
    return frame.size, small.size


def fit_picture(image: Image.Image, fit: tuple[int, int]) -> Image.Image:
    """A picture in RGB, its sides in proportion, scaled to fit width and height."""
    scale = min(fit[0] / image.width, fit[1] / image.height)
    new = (round(image.width * scale), round(image.height * scale))
    return image.convert("RGB").resize(new, Image.Resampling.BILINEAR)


def _vessels(rng: np.random.Generator, shape: tuple[int, int], radius: Any) -> Map:
    """Branching lines: the zero crossings of smooth noise, thick ones and thin ones."""
    scale = min(shape)
    lines = np.zeros(shape, np.float32)
    for sigma, thickness, weight in ((scale / 11, 0.045, 0.8), (scale / 22, 0.07, 0.5)):
        noise = smooth_noise(rng, shape, sigma)
        slope = np.hypot(*np.gradient(noise)) * sigma
        crossing = np.exp(-((noise / (thickness * np.maximum(slope, 0.3))) ** 2))
        patchy = np.clip(smooth_noise(rng, shape, scale / 8) + 0.4, 0, 1)
        lines = np.maximum(lines, weight * crossing * patchy)
    return ndimage.gaussian_filter(lines * np.clip(radius * 2.5, 0, 1) * rng.uniform(0.3, 1.0), 0.6)


def _aperture(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    """The lit part of a frame: a rectangle with cut corners or a wide disc, sometimes beside a black margin."""
    y, x = np.mgrid[:height, :width].astype(float)
    left = rng.uniform(0, 0.3) * width if rng.random() < 0.4 else 0.0
    half_width, half_height = (width - left) / 2, height / 2
    dx, dy = np.abs(x - left - half_width), np.abs(y - half_height)
    if rng.random() < 0.75:
        corner = rng.uniform(0.35, 0.75) * min(half_width, half_height)
        inside = np.minimum(
            np.minimum(half_width - 2 - dx, half_height - 2 - dy), half_width + half_height - corner - dx - dy
        )
    else:
        inside = (1 - np.hypot(dx / half_width, dy / (half_height * 1.15))) * half_height
        inside = np.minimum(inside, half_height - 2 - dy)
    return np.asarray(np.clip(inside + 0.5, 0, 1))


def checked_size(size: Sequence[int]) -> tuple[int, int]:
    """Width and height of frames.

    Raises:
        ValueError: if they are not whole numbers, each at least 64.
    """
    if len(size) != 2 or any(int(n) != n or n < 64 for n in size):
        raise ValueError(f"size must be width and height in whole pixels, each at least 64, got {tuple(size)}.")
    return int(size[0]), int(size[1])
