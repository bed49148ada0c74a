"""Lesions of diabetic retinopathy, drawn into a fundus photograph, a real healthy one or a phantom."""

from __future__ import annotations

import math
from dataclasses import dataclass
from dataclasses import field as attribute

import numpy as np

#: channels of a lesion map
LESIONS = ("dark", "bright", "vessels")
# of each grade, the range of the number of microaneurysms, hemorrhages, exudates and cotton-wool spots
AMOUNTS = {
    0: (),
    1: ((1, 6),),
    2: ((2, 16), (0, 10), (0, 5), (0, 2)),
    3: ((10, 40), (12, 50), (0, 12), (0, 5)),
    4: ((0, 30), (0, 40), (0, 10), (0, 4)),
}


@dataclass
class LesionPainter:
    """Draws lesions into one photograph and keeps a map of where they are.

    Args:
        image: ``(3, H, W)`` float in [0, 1]; drawn upon in place.
        field: ``(H, W)`` bool, the field of view; lesions are centered inside of it.
        rng: where every random number comes from.

    Attributes:
        map: ``(3, H, W)`` float in [0, 1], how much of a pixel is lesion, channels as `LESIONS`.
    """

    image: np.ndarray
    field: np.ndarray
    rng: np.random.Generator
    map: np.ndarray = attribute(init=False)

    def __post_init__(self) -> None:
        self.map = np.zeros_like(self.image, dtype=np.float32)
        rows, columns = np.nonzero(self.field)
        if not len(rows):
            raise ValueError("field must hold a field of view, it is empty.")
        self._inside = rows, columns
        self.unit = float(columns.max() - columns.min() + 1) / 448.0  # sizes below are in pixels of a field 448 wide
        self._contrast = float(self.rng.uniform(0.35, 1.15))

    def place(self) -> tuple[float, float]:
        """A random pixel of the field of view."""
        i = int(self.rng.integers(len(self._inside[0])))
        return float(self._inside[0][i]), float(self._inside[1][i])

    def blob(
        self,
        center: tuple[float, float],
        radius: float,
        *,
        rough: float,
        soft: float,
        stretch: float = 1.0,
        angle: float = 0.0,
    ) -> tuple[tuple[slice, slice], np.ndarray]:
        """Window and opacity of a spot with an irregular rim.

        Args:
            center: row and column.
            radius: in units of a field 448 wide.
            rough: amplitude of the rim's waves, as a share of the radius.
            soft: width of the rim in pixels.
            stretch: length by width.
            angle: direction of the length.
        """
        radius = radius * self.unit
        reach = math.ceil(radius * stretch * (1 + rough) + 2 * soft + 1)
        height, width = self.field.shape
        top, left = max(int(center[0]) - reach, 0), max(int(center[1]) - reach, 0)
        window = (
            slice(top, min(int(center[0]) + reach + 1, height)),
            slice(left, min(int(center[1]) + reach + 1, width)),
        )
        dy = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None] - np.float32(center[0])
        dx = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None, :] - np.float32(center[1])
        along = (dx * math.cos(angle) + dy * math.sin(angle)) / stretch
        across = -dx * math.sin(angle) + dy * math.cos(angle)
        rim = np.float32(radius)
        if rough:
            theta = np.arctan2(across, along)
            phases = self.rng.uniform(0, 2 * math.pi, 4)
            waves = sum(np.sin((k + 2) * theta + phases[k]) / (k + 1.5) for k in range(4))
            rim = radius * (1 + rough * waves)
        distance = np.sqrt(along**2 + across**2)
        alpha = 1.0 / (1.0 + np.exp(np.clip((distance - rim) / max(soft * 0.5, 0.15), -30, 30)))
        return window, (alpha * self.field[window]).astype(np.float32)

    def dark(self, window: tuple[slice, slice], alpha: np.ndarray, strength: float, channel: int = 0) -> None:
        """Blood: it takes green light most."""
        strength = min(strength * self._contrast, 0.9)
        for c, share in enumerate((0.45, 1.0, 0.7)):
            self.image[c][window] *= 1 - alpha * strength * share
        self.map[channel][window] = np.maximum(self.map[channel][window], alpha)

    def bright(self, window: tuple[slice, slice], alpha: np.ndarray, strength: float, white: float) -> None:
        """Lipid (yellow) or swollen nerve fiber (white)."""
        strength = min(strength * self._contrast, 0.95)
        gains, lifts = (1.3, 1.9, 1.6 + white), (0.05, 0.10, 0.03 + 0.1 * white)
        for c in range(3):
            part = self.image[c][window]
            goal = np.clip(part * gains[c] + lifts[c], 0, 1)
            part += alpha * strength * (goal - part)
        self.map[1][window] = np.maximum(self.map[1][window], alpha)

    # ---- the lesions

    def microaneurysms(self, count: int) -> None:
        """Red dots at the limit of resolution."""
        for _ in range(count):
            radius = self.rng.uniform(0.6, 1.7)
            self.dark(*self.blob(self.place(), radius, rough=0.0, soft=1.0), self.rng.uniform(0.25, 0.55))

    def hemorrhages(self, count: int) -> None:
        """Blots, and flames that follow the nerve fibers."""
        for _ in range(count):
            flame = self.rng.random() < 0.3
            radius = self.rng.gamma(1.8, 1.4) + 1.4
            spot = self.blob(
                self.place(),
                min(radius, 16.0) * (0.7 if flame else 1.0),
                rough=self.rng.uniform(0.1, 0.35),
                soft=self.rng.uniform(0.8, 2.5),
                stretch=self.rng.uniform(1.6, 3.0) if flame else self.rng.uniform(1.0, 1.4),
                angle=self.rng.uniform(0, math.pi),
            )
            self.dark(*spot, self.rng.uniform(0.25, 0.65))

    def exudates(self, clusters: int) -> None:
        """Groups of sharp yellow specks; some groups lie in a ring."""
        for _ in range(clusters):
            row, column = self.place()
            spread = self.rng.uniform(4, 34) * self.unit
            ring = self.rng.random() < 0.25
            size = self.rng.uniform(0.5, 2.0)
            strength = self.rng.uniform(0.25, 0.9)
            for _ in range(int(self.rng.integers(2, 40))):
                theta = self.rng.uniform(0, 2 * math.pi)
                far = spread * (self.rng.normal(1, 0.15) if ring else abs(self.rng.normal(0, 0.6)))
                center = (row + far * math.sin(theta), column + far * math.cos(theta))
                if not (0 <= center[0] < self.field.shape[0] and 0 <= center[1] < self.field.shape[1]):
                    continue
                radius = size * self.rng.lognormal(0, 0.4)
                spot = self.blob(
                    center, min(radius, 9), rough=0.25, soft=0.8, stretch=self.rng.uniform(1, 1.6), angle=theta
                )
                self.bright(*spot, strength, 0.0)

    def cotton_wool(self, count: int) -> None:
        """Soft white patches."""
        for _ in range(count):
            soft = self.rng.uniform(3, 7) * self.unit
            spot = self.blob(
                self.place(),
                self.rng.uniform(3, 9),
                rough=0.2,
                soft=soft,
                stretch=self.rng.uniform(1, 1.8),
                angle=self.rng.uniform(0, math.pi),
            )
            self.bright(*spot, self.rng.uniform(0.25, 0.6), 0.7)

    def new_vessels(self, tufts: int) -> None:
        """Tangles of fine vessels."""
        for _ in range(tufts):
            origin = self.place()
            strength = self.rng.uniform(0.15, 0.4)
            for _ in range(int(self.rng.integers(4, 10))):
                (row, column), theta = origin, self.rng.uniform(0, 2 * math.pi)
                turn, width = self.rng.normal(0, 0.15), self.rng.uniform(0.5, 1.1)
                for _ in range(int(self.rng.integers(15, 50))):
                    turn = 0.8 * turn + self.rng.normal(0, 0.18)
                    theta += turn
                    row, column = row + 1.4 * self.unit * math.sin(theta), column + 1.4 * self.unit * math.cos(theta)
                    if not (0 <= row < self.field.shape[0] and 0 <= column < self.field.shape[1]):
                        break
                    self.dark(*self.blob((row, column), width, rough=0.0, soft=0.8), strength * 0.6, channel=2)

    def preretinal_hemorrhage(self) -> None:
        """A large pool of blood before the retina."""
        spot = self.blob(
            self.place(),
            self.rng.uniform(18, 50),
            rough=0.2,
            soft=self.rng.uniform(2, 8),
            stretch=self.rng.uniform(1, 2),
        )
        self.dark(*spot, self.rng.uniform(0.4, 0.8))

    def fibrous_strands(self, count: int) -> None:
        """Pale bands of scar tissue that go with new vessels."""
        for _ in range(count):
            (row, column), theta = self.place(), self.rng.uniform(0, 2 * math.pi)
            width, strength = self.rng.uniform(2, 6), self.rng.uniform(0.04, 0.15)
            for _ in range(int(self.rng.integers(10, 40))):
                theta += self.rng.normal(0, 0.12)
                row, column = row + width * self.unit * math.sin(theta), column + width * self.unit * math.cos(theta)
                if not (0 <= row < self.field.shape[0] and 0 <= column < self.field.shape[1]):
                    break
                self.bright(*self.blob((row, column), width, rough=0.3, soft=5.0), strength, 0.5)


def draw_lesions(image: np.ndarray, field: np.ndarray, grade: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the lesions of a grade into a photograph, in place.

    The grades follow the international scale: 0 none; 1 microaneurysms alone; 2 some hemorrhages or exudates as well;
    3 hemorrhages all over; 4 new vessels, or blood before the retina.

    Args:
        image: ``(3, H, W)`` float in [0, 1], a healthy eye.
        field: ``(H, W)`` bool, the field of view.
        grade: 0-4.
        rng: the random numbers.

    Returns:
        The lesion map ``(3, H, W)``, channels as `LESIONS`.

    Raises:
        ValueError: if the grade is outside 0-4.
    """
    if grade not in range(5):
        raise ValueError(f"grade must be 0, 1, 2, 3 or 4, got {grade}.")
    painter = LesionPainter(image, field, rng)
    common = (painter.microaneurysms, painter.hemorrhages, painter.exudates, painter.cotton_wool)
    for paint, (least, end) in zip(common, AMOUNTS[grade], strict=False):
        paint(int(rng.integers(least, end)))
    if grade == 4:
        blood = rng.random() < 0.4
        if blood:
            painter.preretinal_hemorrhage()
        if not blood or rng.random() < 0.7:
            painter.new_vessels(int(rng.integers(1, 5)))
        if rng.random() < 0.4:
            painter.fibrous_strands(int(rng.integers(1, 4)))
    np.clip(image, 0, 1, out=image)
    return painter.map
