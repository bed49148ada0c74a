"""Seeded thorax CT phantoms in Hounsfield units: demo data that needs no download, and extra training cases.

The anatomy is a set of implicit shapes: functions of patient coordinates in mm that are negative inside and grow by
about one per mm. A ramp as wide as a voxel then gives every edge its partial volume, and grids of any size and spacing
cut the same patient. Axes are RAS+, the origin lies in the middle of the lungs.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["ThoraxPhantom", "thorax_phantom", "write_ct_phantoms"]

Field = NDArray[np.floating[Any]]  # float32 wherever it has the size of a volume
Point = tuple[float, float, float]

_VERSION = 2  # raise it whenever the same seed gives other voxels: write_ct_phantoms then renews its folders
RIGHT, LEFT = 1.0, -1.0


@dataclass(frozen=True)
class ThoraxPhantom:
    """One synthetic chest CT.

    Attributes:
        image: int16 HU in [-1024, 3071], shape (X, Y, Z).
        lung_mask: uint8, 1 in both lungs with the vessels and opacities inside them, 0 in trachea and main bronchi.
        infection_mask: uint8, 1 in ground glass and consolidation; a subset of ``lung_mask``.
        affine: 4x4 float64, voxel indices to RAS+ mm; the centre of the volume is the origin.
    """

    image: NDArray[np.int16]
    lung_mask: NDArray[np.uint8]
    infection_mask: NDArray[np.uint8]
    affine: NDArray[np.float64]


def thorax_phantom(
    size: Sequence[int] = (128, 128, 96),
    spacing: Sequence[float] = (2.6, 2.6, 3.0),
    *,
    seed: int = 0,
    opacities: bool = True,
    noise_hu: float = 20.0,
) -> ThoraxPhantom:
    """Draw the chest CT of a random patient.

    The seed decides the patient: body and lung shape, position and roll in the scanner, densities, vessels, opacities.
    The same seed shows the same patient on every grid; texture and noise alone differ from grid to grid.

    Args:
        size: voxels along x, y, z, each at least 32.
        spacing: voxel size in mm along x, y, z. The volume is centred on the middle of the lungs, whatever its extent.
        seed: a non-negative integer.
        opacities: add a pneumonia's ground glass (-700 to -300 HU) and consolidation, mostly peripheral and posterior.
        noise_hu: standard deviation of the scanner noise in HU, correlated over about 2.4 mm.

    Returns:
        The image with its masks and affine.

    Raises:
        ValueError: if an argument is out of its range; the message names it.

    Example:
        >>> phantom = thorax_phantom((48, 48, 32), (7.0, 7.0, 9.0), seed=1)
        >>> phantom.image.shape, str(phantom.image.dtype)
        ((48, 48, 32), 'int16')
        >>> bool((phantom.infection_mask <= phantom.lung_mask).all())
        True
    """
    shape, voxel, seed = _checked(size, spacing, seed)
    if not (math.isfinite(noise_hu) and noise_hu >= 0):
        raise ValueError(f"noise_hu must be a finite standard deviation >= 0 in HU, got {noise_hu!r}")

    # Separate streams: switching the opacities off or changing the grid must not change the patient.
    anatomy, trees, disease, texture = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4))
    patient = _Patient(anatomy)
    world = [((np.arange(n) - (n - 1) / 2) * v).astype(np.float32) for n, v in zip(shape, voxel, strict=True)]
    x, y, z = patient.coordinates(*np.ix_(*world))
    edge = sum(voxel) / 3

    right, left = patient.lung(x, y, z, RIGHT), patient.lung(x, y, z, LEFT)
    lungs = np.minimum(right, left)
    airway = patient.airway(x, y, z)
    # As masks thresholded at about -320 HU, this one reaches 0.3 mm into the wall; 1.5 mm are the bronchi's.
    lung_mask = (lungs < 0.3) & (airway > 1.5)

    image = np.full(shape, -1000, np.float32)
    patient.paint_body(image, x, y, z, edge)
    soft_tissue = _smooth_noise(texture, shape, voxel, 7.0)
    image += np.where(image > -200, 8 * soft_tissue, 0)

    parenchyma = patient.lung_hu - 0.35 * y + 12 * soft_tissue  # gravity: the back of a lying patient's lung is denser
    parenchyma += 25 * _smooth_noise(texture, shape, voxel, 2.0)
    for side in (RIGHT, LEFT):
        vessels = patient.to_world(_vessel_tree(trees, patient.hilum(side), side))
        _draw_vessels(parenchyma, vessels, world, edge)
    infected = np.zeros(shape, bool)
    if opacities:
        rough = _smooth_noise(disease.spawn(1)[0], shape, voxel, 14.0)
        infected = _add_opacities(disease, patient, parenchyma, (x, y, z), rough) & lung_mask
    _paint(image, lungs, parenchyma, edge)
    _paint(image, airway - 1.5, 20.0, edge)
    _paint(image, airway, -990.0, edge)

    if noise_hu:
        image += float(noise_hu) * _smooth_noise(texture, shape, voxel, 2.4)
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = [axis[0] for axis in world]
    return ThoraxPhantom(
        image=np.clip(np.rint(image), -1024, 3071).astype(np.int16),
        lung_mask=lung_mask.astype(np.uint8),
        infection_mask=infected.astype(np.uint8),
        affine=affine,
    )


def write_ct_phantoms(
    folder: str | os.PathLike[str],
    count: int = 2,
    *,
    size: Sequence[int] = (128, 128, 96),
    spacing: Sequence[float] = (2.6, 2.6, 3.0),
    seed: int = 0,
) -> Path:
    """Write phantoms as a dataset in the ``labels.csv`` layout of :func:`monai_smia.data.ct_datalist`.

    Case i is ``thorax_phantom(seed=seed + i)`` in ``phantom_00i.nii.gz`` (int16), ``..._lung.nii.gz`` and
    ``..._infection.nii.gz`` (uint8). The last quarter of the cases, at least one of two, is the split
    "test", the rest "train". A complete folder with the same parameters is left as it is.

    Args:
        folder: where to write; made if absent.
        count: number of cases, at least 1.
        size: voxels along x, y, z, each at least 32.
        spacing: voxel size in mm.
        seed: seed of the first case.

    Returns:
        The absolute path of the folder.

    Raises:
        ValueError: if an argument is out of its range.
        FileExistsError: if ``folder`` holds a ``labels.csv`` that is not of this function's making.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as tmp:
        ...     folder = write_ct_phantoms(tmp, 1, size=(32, 32, 32), spacing=(10.0, 10.0, 9.0))
        ...     sorted(path.name for path in folder.glob("*.nii.gz"))
        ['phantom_000.nii.gz', 'phantom_000_infection.nii.gz', 'phantom_000_lung.nii.gz']
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count must be an integer >= 1, got {count!r}")
    shape, voxel, seed = _checked(size, spacing, seed)
    folder = Path(folder).resolve()
    table, receipt = folder / "labels.csv", folder / "phantoms.json"
    parameters = {"version": _VERSION, "count": count, "size": shape, "spacing": voxel, "seed": seed}
    text = json.dumps(parameters, indent=2) + "\n"
    names = [[f"phantom_{i:03d}{part}.nii.gz" for part in ("", "_lung", "_infection")] for i in range(count)]
    if table.exists():
        if not receipt.exists():
            raise FileExistsError(
                f"folder {folder} holds another dataset (labels.csv, no phantoms.json): choose another"
            )
        if receipt.read_text() == text and all((folder / name).exists() for row in names for name in row):
            return folder
        table.unlink()  # first: a folder without labels.csv is never mistaken for a complete one

    folder.mkdir(parents=True, exist_ok=True)
    for i, row in enumerate(names):
        phantom = thorax_phantom(shape, voxel, seed=seed + i)
        for name, array in zip(row, (phantom.image, phantom.lung_mask, phantom.infection_mask), strict=True):
            nifti: Any = nib.Nifti1Image(array, phantom.affine)
            nifti.header.set_xyzt_units("mm")
            with _replacing(folder / name) as path:
                nib.save(nifti, path)
    with _replacing(receipt) as path:
        path.write_text(text)
    n_train = count - max(count // 4, min(count - 1, 1))
    with _replacing(table) as path, path.open("w", newline="") as file:
        rows = [[*row, "train" if i < n_train else "test"] for i, row in enumerate(names)]
        csv.writer(file).writerows([["file", "lung_mask", "infection_mask", "split"], *rows])
    return folder


class _Patient:
    """The implicit anatomy of one random patient; lengths in mm, x to the right, y to the front, z to the head."""

    def __init__(self, rng: np.random.Generator) -> None:
        def draw(low: float, high: float) -> float:
            return float(rng.uniform(low, high))  # a Python float: a NumPy one would turn float32 fields into float64

        self.lung_hu = draw(-905, -855)
        self.soft_hu, self.fat_hu, self.bone_hu = draw(35, 55), draw(-115, -95), draw(350, 550)
        self.half_width, self.half_depth, self.height = draw(128, 154), draw(86, 106), draw(0.92, 1.08)
        self.fat, self.table_gap = draw(6, 24), draw(3, 10)
        self.dome = {RIGHT: draw(-58, -28), LEFT: draw(-68, -38)}
        self.heart_centre = (draw(-30, -20), draw(14, 24), draw(-50, -38))
        self.heart_radii = (draw(50, 62), draw(42, 50), draw(50, 60))
        self.mediastinum = draw(-4, 5)
        self.rib_phase, self.gas = draw(0, 25), draw(5, 40)
        self.bowel = [
            ((draw(-95, 70), draw(15, 75), draw(-150, -60)), (draw(6, 20), draw(6, 14), draw(6, 16)))
            for _ in range(int(draw(3, 9)))
        ]
        self.shift = (draw(-8, 8), draw(-8, 8), draw(-6, 6))
        self.roll = math.radians(draw(-5, 5))

    def coordinates(self, x: Field, y: Field, z: Field) -> tuple[Field, Field, Field]:
        """World to patient by shift and roll. z stays apart from x and y, which keeps much of the work 2-D."""
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        x, y = x - self.shift[0], y - self.shift[1]
        return cos * x + sin * y, cos * y - sin * x, (z - self.shift[2]) / self.height

    def to_world(self, segments: Field) -> Field:
        """The way back, for rows of (start xyz, end xyz, radius)."""
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, self.height]])
        ends = segments[:, :6].reshape(-1, 2, 3) @ rotation.T + np.array(self.shift)
        return np.hstack([ends.reshape(-1, 6), segments[:, 6:]]).astype(np.float32)

    def hilum(self, side: float) -> Point:
        return (side * 44, -16.0, 4.0 if side == RIGHT else 10.0)

    def cavity(self, x: Field, y: Field, z: Field) -> Field:
        """Inside of the rib cage, which narrows from the base to the apex."""
        levels = (-150, -60, 10, 60, 95, 116, 130)
        width = self.half_width * _profile(z, levels, (1.02, 1.0, 0.97, 0.86, 0.68, 0.48, 0.1))
        depth = self.half_depth * _profile(z, levels, (1.0, 1.0, 0.97, 0.86, 0.66, 0.46, 0.1))
        return _oval(x, y + 6, width, depth, 2.4)

    def heart(self, x: Field, y: Field, z: Field) -> Field:
        return _ellipsoid(x + 0.25 * z - 0.25 * self.heart_centre[2], y, z, self.heart_centre, self.heart_radii)

    def spine(self, x: Field, y: Field) -> Field:
        return _oval(x, y + self.half_depth - 32, 20.0, 17.0)

    def airway(self, x: Field, y: Field, z: Field) -> Field:
        """Trachea, carina and main bronchi."""
        carina = (3.0, -18.0, 38.0)
        tubes = [_capsule(x, y, z, (2.0, 0.0, 190.0), carina, 8.5)]
        tubes += [_capsule(x, y, z, carina, self.hilum(side), 6.0) for side in (RIGHT, LEFT)]
        return reduce(np.minimum, tubes)

    def diaphragm(self, x: Field, y: Field, side: float) -> Field:
        """Height of the dome: the edge falls into deep recesses at the side and, most of all, at the back."""
        r2 = ((side * x - 68) / 66) ** 2 + ((y - 12) / 70) ** 2
        return self.dome[side] - 34 * r2 - 10 * r2 * r2

    def lung(self, x: Field, y: Field, z: Field, side: float) -> Field:
        """The rib cage's inside on one side, without mediastinum, heart, spine and all below the diaphragm."""
        medial = _profile(y, (-90, -55, -15, 25, 70, 95), (22, 20, 29, 26, 8, 4)) + self.mediastinum - 3 * side
        medial = medial + _profile(z, (-120, -40, 20, 60, 130), (4, 2, 0, -4, -8))
        lung = _smooth_max(self.cavity(x, y, z) + 2, np.maximum(medial, 4) - side * x)
        lung = _smooth_max(lung, 0.6 * (self.diaphragm(x, y, side) - z))
        lung = _smooth_max(lung, 4 - self.heart(x, y, z))
        lung = _smooth_max(lung, 5 - self.spine(x, y))
        return _smooth_max(lung, -_ellipsoid(x, y, z, self.hilum(side), (11.0, 13.0, 17.0)))

    def paint_body(self, image: Field, x: Field, y: Field, z: Field, edge: float) -> None:
        """Everything but lungs and airways, in place and from the outside in."""
        half_depth, soft = self.half_depth + 28, self.soft_hu
        self._paint_table(image, x, y + half_depth + 4 + self.table_gap, edge)

        width = (self.half_width + 28) * _profile(z, (-150, 0, 90, 130, 160), (0.97, 1.0, 1.04, 0.95, 0.5))
        depth = half_depth * _profile(z, (-150, 0, 60, 130, 160), (1.02, 1.0, 0.94, 0.7, 0.55))
        body = _oval(x, y + 8, width, depth, 2.2)
        _paint(image, body, 0.0, edge)  # skin
        _paint(image, body + 2, self.fat_hu, edge)
        fat = self.fat * (1 + 0.5 * y / half_depth)  # thicker in front
        _paint(image, body + 2 + fat, soft, edge)  # muscle

        cavity = self.cavity(x, y, z)
        heart = self.heart(x, y, z)
        mediastinum = np.minimum(np.maximum(_ellipsoid(x, y, z, (0, 20, 45), (36, 70, 75)), cavity + 3), heart - 4)
        _paint(image, mediastinum, self.fat_hu + 50, edge)
        _paint(image, heart, soft, edge)
        arch, front = (-24, -36, 58), (12, 14, 60)
        vessels = [(arch, (-20, -40, -140), 12), (arch, front, 13), (front, (4, 16, -10), 14)]  # aorta
        vessels += [((26, 12, 100), (24, 10, -10), 8), ((-30, 2, 18), (24, -6, 14), 11)]  # vena cava, pulmonary trunk
        for start, end, radius in vessels:
            _paint(image, _capsule(x, y, z, start, end, radius), soft + 5, edge)

        dome = np.where(x > 0, self.diaphragm(x, y, RIGHT), self.diaphragm(x, y, LEFT))
        below = np.maximum(cavity, z - dome) + 3
        _paint(image, below, self.fat_hu + 10, edge)
        _paint(image, np.maximum(below, 0.8 * (-30 - x - 0.4 * y)), soft + 12, edge)  # liver
        stomach = _ellipsoid(x, y, z, (-62, 8, -105), (44, 50, 42))
        _paint(image, np.maximum(stomach, below), soft - 15, edge)
        gas = np.maximum(np.maximum(stomach + 4, below + 6), 33 - self.gas - y)  # it rises to the front
        _paint(image, gas, -985.0, edge)
        for centre, radii in self.bowel:
            _paint(image, np.maximum(_ellipsoid(x, y, z, centre, radii), below + 6), -970.0, edge)
        spleen = _ellipsoid(x, y, z, (-92, -50, -100), (28, 38, 45))
        _paint(image, np.maximum(spleen, below), soft + 8, edge)
        self._paint_bones(image, x, y, z, cavity, edge)

    def _paint_bones(self, image: Field, x: Field, y: Field, z: Field, cavity: Field, edge: float) -> None:
        def bone(shape: Field, cortex: float = 2.5) -> None:
            _paint(image, shape, self.bone_hu + 150, edge)
            _paint(image, shape + cortex, self.bone_hu - 220, edge)  # marrow

        spine = self.spine(x, y)
        back = y + self.half_depth - 8
        bone(np.minimum(spine, _oval(x, back + 10, 5.0, 24.0)) + 0 * z)  # bodies and spinous processes
        bone(_capsule(x, back - 1, 0 * z, (-26, 0, 0), (26, 0, 0), 5.0) + np.abs((z + self.rib_phase) % 25 - 12.5) - 7)
        _paint(image, _oval(x, back, 8.0, 7.0) + 0 * z, 25.0, edge)  # spinal canal

        # Ribs fall from back to front, so an axial slice cuts each one at another place.
        phase = (z + 0.55 * y + 0.1 * np.abs(x) + self.rib_phase) % 25 - 12.5
        rib = np.hypot(np.maximum(np.abs(cavity - 8) - 2, 0), np.maximum(np.abs(phase) - 3.5, 0)) - 2.5
        rib = np.maximum(rib, np.maximum(z - 118, 12 - np.abs(x)))
        cartilage = rib + np.maximum(0, y - 0.65 * self.half_depth)
        _paint(image, rib, self.soft_hu + 60, edge)
        bone(cartilage, 2.0)
        sternum_y = y - self.half_depth * _profile(z, (-150, 10, 60, 95, 130), (1.0, 0.97, 0.84, 0.62, 0.4)) - 4
        bone(np.maximum(_oval(x, sternum_y, 18.0, 6.0), np.abs(z - 35) - 75))
        for side in (RIGHT, LEFT):
            bone(_capsule(x, y, z, (side * 20, 42, 100), (side * 125, -10, 128), 6.0))  # clavicle
            out, front = side * x - 104, y + 68
            blade = _ellipsoid(0.8 * out + 0.6 * front, 0.8 * front - 0.6 * out, z, (0, 0, 75), (42.0, 4.5, 62.0))
            bone(np.maximum(blade, 14 - cavity), 2.0)  # scapula
            bone(_ellipsoid(x, y, z, (side * 142, -40, 125), (22.0, 22.0, 26.0)), 4.0)  # head of the humerus

    def _paint_table(self, image: Field, x: Field, y: Field, edge: float) -> None:
        """Foam between two curved shells. It is as light as lung, and a network must learn that it is none."""
        depth = x * x / 900 - y  # below the surface, which rises at both sides
        for top, bottom, hu in ((0, 4, -250.0), (4, 26, -930.0), (26, 30, -250.0)):
            slab = np.maximum(np.maximum(top - depth, depth - bottom), np.abs(x) - 225)
            _paint(image, slab, hu, edge)


def _vessel_tree(rng: np.random.Generator, root: Point, side: float) -> Field:
    """Segments (N, 7) of a forking tree: start xyz, end xyz, radius. What leaves the lung is not shown."""
    directions = rng.normal(size=(24, 3)) * (1, 1.2, 1.5) + (0.9 * side, 0, 0)
    heads, radius, length = np.tile(np.array(root), (len(directions), 1)), 3.4, 24.0
    segments = []
    for _ in range(6):
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        ends = heads + length * rng.uniform(0.7, 1.2, (len(heads), 1)) * directions
        segments.append(np.hstack([heads, ends, np.full((len(heads), 1), radius)]))
        aside = np.cross(directions, rng.normal(size=directions.shape))
        aside *= rng.uniform(0.2, 0.7, (len(heads), 1)) / np.linalg.norm(aside, axis=1, keepdims=True)
        heads, directions = np.vstack([ends, ends]), np.vstack([directions + aside, directions - aside])
        radius, length = radius * 0.78, length * 0.87
    return np.vstack(segments)


def _draw_vessels(image: Field, segments: Field, world: Sequence[Field], edge: float) -> None:
    """Draw capsules into ``image`` in place, each within its own small box."""
    for segment in segments:
        start, end, radius = segment[:3], segment[3:6], float(segment[6])
        reach = radius + edge
        low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
        box = tuple(slice(*np.searchsorted(axis, (a, b))) for axis, a, b in zip(world, low, high, strict=True))
        x, y, z = np.ix_(*(axis[part] for axis, part in zip(world, box, strict=True)))
        if image[box].size:
            fill = min(1.0, 2 * radius / edge)  # of a voxel that is wider than the vessel
            _paint(image[box], _capsule(x, y, z, start.tolist(), end.tolist(), radius), 40.0, edge, fill)


def _add_opacities(
    rng: np.random.Generator, patient: _Patient, image: Field, grid: tuple[Field, Field, Field], rough: Field
) -> NDArray[np.bool_]:
    """Thicken ``image`` in place by three to nine ragged blobs and return where they are."""
    points = rng.uniform((-150, -110, -140), (150, 100, 110), (6000, 3)).astype(np.float32)
    x, y, z = points.T
    depth = -np.minimum(patient.lung(x, y, z, RIGHT), patient.lung(x, y, z, LEFT))
    weight = ((depth > 4) & (depth < 22)) * np.exp(-y / 45)
    infected = np.zeros(image.shape, bool)
    for index in rng.choice(len(points), rng.integers(3, 10), replace=False, p=weight / weight.sum()):
        radius = float(rng.uniform(9, 30))
        radii = tuple(radius * float(f) for f in rng.uniform(0.7, 1.3, 3))
        blob = _ellipsoid(*grid, points[index].tolist(), radii) + 0.3 * radius * rough
        ground_glass = float(rng.uniform(-680, -350)) + 40 * rough
        _paint(image, blob, np.maximum(image, ground_glass), 7.0)
        if rng.random() < 0.4:
            _paint(image, blob + 0.4 * radius, np.maximum(image, float(rng.uniform(-120, 30)) + 15 * rough), 7.0)
        infected |= blob < 0
    return infected


def _paint(image: Field, sdf: Field, hu: float | Field, edge: float, fill: float = 1.0) -> None:
    """Blend ``hu`` into ``image`` in place, over an edge of ``edge`` mm: a voxel gets the share that lies inside."""
    image += fill * np.clip(0.5 - sdf / edge, 0, 1) * (hu - image)


def _oval(x: Field, y: Field, width: float | Field, depth: float | Field, power: float = 2.0) -> Field:
    """A cylinder along z with a superellipse as its section; half axes in mm."""
    radius: Field = (np.abs(x) ** power * width**-power + np.abs(y) ** power * depth**-power) ** (1 / power)
    return (radius - 1) * np.minimum(width, depth, dtype=np.float32)


def _ellipsoid(x: Field, y: Field, z: Field, centre: Sequence[float], radii: Sequence[float]) -> Field:
    u, v, w = ((axis - c) / r for axis, c, r in zip((x, y, z), centre, radii, strict=True))
    radius: Field = np.sqrt(u * u + v * v + w * w)
    return (radius - 1) * min(radii)


def _capsule(x: Field, y: Field, z: Field, start: Sequence[float], end: Sequence[float], radius: float) -> Field:
    """A tube with round ends."""
    axis = [b - a for a, b in zip(start, end, strict=True)]
    dx, dy, dz = x - start[0], y - start[1], z - start[2]
    along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / sum(a * a for a in axis), 0, 1)
    u, v, w = (d - along * a for d, a in zip((dx, dy, dz), axis, strict=True))
    distance: Field = np.sqrt(u * u + v * v + w * w)
    return distance - radius


def _smooth_max(a: Field, b: Field, k: float = 6.0) -> Field:
    """Intersection of two shapes with an edge rounded over k mm."""
    overlap = np.maximum(k - np.abs(a - b), 0)
    rounded: Field = np.maximum(a, b) + overlap * overlap / (4 * k)
    return rounded


def _profile(t: Field, knots: Sequence[float], values: Sequence[float]) -> Field:
    values_at: Field = np.interp(t, knots, values).astype(np.float32)
    return values_at


def _smooth_noise(rng: np.random.Generator, shape: Sequence[int], voxel: Sequence[float], width: float) -> Field:
    """White noise smoothed over ``width`` mm (full width at half maximum), of unit variance."""
    noise = rng.standard_normal(shape, np.float32)
    smooth: Field = ndimage.gaussian_filter(noise, [width / v / 2.355 for v in voxel], mode="wrap", truncate=3.0)
    smooth /= smooth.std()
    return smooth


def _checked(
    size: Sequence[int], spacing: Sequence[float], seed: int
) -> tuple[tuple[int, ...], tuple[float, ...], int]:
    if len(size) != 3 or any(int(n) != n or n < 32 for n in size):
        raise ValueError(f"size must be three whole numbers of voxels, each at least 32, got {size!r}")
    if len(spacing) != 3 or not all(math.isfinite(v) and v > 0 for v in spacing):
        raise ValueError(f"spacing must be three positive numbers in mm, got {spacing!r}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be a non-negative integer, got {seed!r}")
    return tuple(int(n) for n in size), tuple(float(v) for v in spacing), int(seed)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place once the block has succeeded."""
    temporary = path.with_name(f".{os.getpid()}_{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
