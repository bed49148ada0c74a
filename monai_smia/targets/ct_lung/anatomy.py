"""The anatomy of a synthetic chest: body, lungs, airways, vessels, bones, bowel and opacities as implicit shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from monai_smia.targets.ct_lung.shapes import Field, capsule, ellipsoid, oval, paint, profile, smooth_max

Point = tuple[float, float, float]
RIGHT, LEFT = 1.0, -1.0


class Patient:
    """The implicit anatomy of one random patient; lengths in mm, x to the right, y to the front, z to the head."""

    def __init__(self, rng: np.random.Generator) -> None:
        def draw(low: float, high: float) -> float:
            return float(rng.uniform(low, high))  # a Python float: a NumPy one would turn float32 fields into float64

        self.lung_hu = draw(-905, -855)
        self.soft_hu, self.fat_hu, self.bone_hu = draw(35, 55), draw(-115, -95), draw(350, 550)
        self.half_width, self.half_depth, self.height = draw(128, 154), draw(86, 106), draw(0.92, 1.08)
        self.fat, self.table_gap = draw(6, 24), draw(3, 10)
        self.dome = {RIGHT: draw(-58, -28), LEFT: draw(-68, -38)}
        self.heart_center = (draw(-30, -20), draw(14, 24), draw(-50, -38))
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
        """Where bronchus and vessels of a side enter its lung."""
        return (side * 44, -16.0, 4.0 if side == RIGHT else 10.0)

    def cavity(self, x: Field, y: Field, z: Field) -> Field:
        """Inside of the rib cage, which narrows from the base to the apex."""
        levels = (-150, -60, 10, 60, 95, 116, 130)
        width = self.half_width * profile(z, levels, (1.02, 1.0, 0.97, 0.86, 0.68, 0.48, 0.1))
        depth = self.half_depth * profile(z, levels, (1.0, 1.0, 0.97, 0.86, 0.66, 0.46, 0.1))
        return oval(x, y + 6, width, depth, 2.4)

    def heart(self, x: Field, y: Field, z: Field) -> Field:
        """An ellipsoid that leans to the left."""
        return ellipsoid(x + 0.25 * z - 0.25 * self.heart_center[2], y, z, self.heart_center, self.heart_radii)

    def spine(self, x: Field, y: Field) -> Field:
        """Vertebral bodies, as one column."""
        return oval(x, y + self.half_depth - 32, 20.0, 17.0)

    def airway(self, x: Field, y: Field, z: Field) -> Field:
        """Trachea, carina and main bronchi."""
        carina = (3.0, -18.0, 38.0)
        tubes = [capsule(x, y, z, (2.0, 0.0, 190.0), carina, 8.5)]
        tubes += [capsule(x, y, z, carina, self.hilum(side), 6.0) for side in (RIGHT, LEFT)]
        return reduce(np.minimum, tubes)

    def diaphragm(self, x: Field, y: Field, side: float) -> Field:
        """Height of the dome: the edge falls into deep recesses at the side and, most of all, at the back."""
        r2 = ((side * x - 68) / 66) ** 2 + ((y - 12) / 70) ** 2
        return self.dome[side] - 34 * r2 - 10 * r2 * r2

    def lung(self, x: Field, y: Field, z: Field, side: float) -> Field:
        """The rib cage's inside on one side, without mediastinum, heart, spine and all below the diaphragm."""
        medial = profile(y, (-90, -55, -15, 25, 70, 95), (22, 20, 29, 26, 8, 4)) + self.mediastinum - 3 * side
        medial = medial + profile(z, (-120, -40, 20, 60, 130), (4, 2, 0, -4, -8))
        lung = smooth_max(self.cavity(x, y, z) + 2, np.maximum(medial, 4) - side * x)
        lung = smooth_max(lung, 0.6 * (self.diaphragm(x, y, side) - z))
        lung = smooth_max(lung, 4 - self.heart(x, y, z))
        lung = smooth_max(lung, 5 - self.spine(x, y))
        return smooth_max(lung, -ellipsoid(x, y, z, self.hilum(side), (11.0, 13.0, 17.0)))

    def paint_body(self, image: Field, x: Field, y: Field, z: Field, edge: float) -> None:
        """Everything but lungs and airways, in place and from the outside in."""
        half_depth, soft = self.half_depth + 28, self.soft_hu
        self._paint_table(image, x, y + half_depth + 4 + self.table_gap, edge)

        width = (self.half_width + 28) * profile(z, (-150, 0, 90, 130, 160), (0.97, 1.0, 1.04, 0.95, 0.5))
        depth = half_depth * profile(z, (-150, 0, 60, 130, 160), (1.02, 1.0, 0.94, 0.7, 0.55))
        body = oval(x, y + 8, width, depth, 2.2)
        paint(image, body, 0.0, edge)  # skin
        paint(image, body + 2, self.fat_hu, edge)
        fat = self.fat * (1 + 0.5 * y / half_depth)  # thicker in front
        paint(image, body + 2 + fat, soft, edge)  # muscle

        cavity = self.cavity(x, y, z)
        heart = self.heart(x, y, z)
        mediastinum = np.minimum(np.maximum(ellipsoid(x, y, z, (0, 20, 45), (36, 70, 75)), cavity + 3), heart - 4)
        paint(image, mediastinum, self.fat_hu + 50, edge)
        paint(image, heart, soft, edge)
        arch, front = (-24, -36, 58), (12, 14, 60)
        vessels = [(arch, (-20, -40, -140), 12), (arch, front, 13), (front, (4, 16, -10), 14)]  # aorta
        vessels += [((26, 12, 100), (24, 10, -10), 8), ((-30, 2, 18), (24, -6, 14), 11)]  # vena cava, pulmonary trunk
        for start, end, radius in vessels:
            paint(image, capsule(x, y, z, start, end, radius), soft + 5, edge)

        dome = np.where(x > 0, self.diaphragm(x, y, RIGHT), self.diaphragm(x, y, LEFT))
        below = np.maximum(cavity, z - dome) + 3
        paint(image, below, self.fat_hu + 10, edge)
        paint(image, np.maximum(below, 0.8 * (-30 - x - 0.4 * y)), soft + 12, edge)  # liver
        stomach = ellipsoid(x, y, z, (-62, 8, -105), (44, 50, 42))
        paint(image, np.maximum(stomach, below), soft - 15, edge)
        gas = np.maximum(np.maximum(stomach + 4, below + 6), 33 - self.gas - y)  # it rises to the front
        paint(image, gas, -985.0, edge)
        for center, radii in self.bowel:
            paint(image, np.maximum(ellipsoid(x, y, z, center, radii), below + 6), -970.0, edge)
        spleen = ellipsoid(x, y, z, (-92, -50, -100), (28, 38, 45))
        paint(image, np.maximum(spleen, below), soft + 8, edge)
        self._paint_bones(image, x, y, z, cavity, edge)

    def _paint_bones(self, image: Field, x: Field, y: Field, z: Field, cavity: Field, edge: float) -> None:
        def bone(shape: Field, cortex: float = 2.5) -> None:
            paint(image, shape, self.bone_hu + 150, edge)
            paint(image, shape + cortex, self.bone_hu - 220, edge)  # marrow

        spine = self.spine(x, y)
        back = y + self.half_depth - 8
        bone(np.minimum(spine, oval(x, back + 10, 5.0, 24.0)) + 0 * z)  # bodies and spinous processes
        bone(capsule(x, back - 1, 0 * z, (-26, 0, 0), (26, 0, 0), 5.0) + np.abs((z + self.rib_phase) % 25 - 12.5) - 7)
        paint(image, oval(x, back, 8.0, 7.0) + 0 * z, 25.0, edge)  # spinal canal

        # Ribs fall from back to front, so an axial slice cuts each one at another place.
        phase = (z + 0.55 * y + 0.1 * np.abs(x) + self.rib_phase) % 25 - 12.5
        rib = np.hypot(np.maximum(np.abs(cavity - 8) - 2, 0), np.maximum(np.abs(phase) - 3.5, 0)) - 2.5
        rib = np.maximum(rib, np.maximum(z - 118, 12 - np.abs(x)))
        cartilage = rib + np.maximum(0, y - 0.65 * self.half_depth)
        paint(image, rib, self.soft_hu + 60, edge)
        bone(cartilage, 2.0)
        sternum_y = y - self.half_depth * profile(z, (-150, 10, 60, 95, 130), (1.0, 0.97, 0.84, 0.62, 0.4)) - 4
        bone(np.maximum(oval(x, sternum_y, 18.0, 6.0), np.abs(z - 35) - 75))
        for side in (RIGHT, LEFT):
            bone(capsule(x, y, z, (side * 20, 42, 100), (side * 125, -10, 128), 6.0))  # clavicle
            out, front = side * x - 104, y + 68
            blade = ellipsoid(0.8 * out + 0.6 * front, 0.8 * front - 0.6 * out, z, (0, 0, 75), (42.0, 4.5, 62.0))
            bone(np.maximum(blade, 14 - cavity), 2.0)  # scapula
            bone(ellipsoid(x, y, z, (side * 142, -40, 125), (22.0, 22.0, 26.0)), 4.0)  # head of the humerus

    def _paint_table(self, image: Field, x: Field, y: Field, edge: float) -> None:
        """Foam between two curved shells. It is as light as lung, and a network must learn that it is none."""
        depth = x * x / 900 - y  # below the surface, which rises at both sides
        for top, bottom, hu in ((0, 4, -250.0), (4, 26, -930.0), (26, 30, -250.0)):
            slab = np.maximum(np.maximum(top - depth, depth - bottom), np.abs(x) - 225)
            paint(image, slab, hu, edge)


def vessel_tree(rng: np.random.Generator, root: Point, side: float) -> Field:
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


def draw_tubes(image: Field, segments: Field, world: Sequence[Field], edge: float, value: float) -> None:
    """Draw capsules, rows of (start xyz, end xyz, radius), into ``image`` in place, each within its own small box."""
    for segment in segments:
        start, end, radius = segment[:3], segment[3:6], float(segment[6])
        reach = radius + edge
        low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
        box = tuple(slice(*np.searchsorted(axis, (a, b))) for axis, a, b in zip(world, low, high, strict=True))
        x, y, z = np.ix_(*(axis[part] for axis, part in zip(world, box, strict=True)))
        if image[box].size:
            fill = min(1.0, 2 * radius / edge)  # of a voxel that is wider than the tube
            paint(image[box], capsule(x, y, z, start.tolist(), end.tolist(), radius), value, edge, fill)


def add_opacities(
    rng: np.random.Generator, patient: Patient, image: Field, grid: tuple[Field, Field, Field], rough: Field
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
        blob = ellipsoid(*grid, points[index].tolist(), radii) + 0.3 * radius * rough
        ground_glass = float(rng.uniform(-680, -350)) + 40 * rough
        paint(image, blob, np.maximum(image, ground_glass), 7.0)
        if rng.random() < 0.4:
            paint(image, blob + 0.4 * radius, np.maximum(image, float(rng.uniform(-120, 30)) + 15 * rough), 7.0)
        infected |= blob < 0
    return infected
