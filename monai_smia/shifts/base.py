"""Acquisition shifts: bounded changes of how an image was taken, with parameters in physical units."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from monai.data import MetaTensor
from torch import Tensor
from typing_extensions import Self

from monai_smia.shifts.grid import LENGTHS, Grid, plain_of

LEVELS = 5


@dataclass(frozen=True)
class Parameter:
    """One parameter of a shift, or several alike (one for each axis), with its value at five severities.

    Args:
        name: as it is told.
        unit: physical unit.
        severities: five values, the mildest first.
        neutral: value at which nothing happens.
        signed: whether it goes both ways: as far to the other side, or, of a factor, by its inverse.
        count: how many there are.
        factor: whether it multiplies, so that 2 and 1/2 are alike.
        vector: whether several are one vector, of which the length is told; else the largest is.
    """

    name: str
    unit: str
    severities: tuple[float, float, float, float, float]
    neutral: float = 0.0
    signed: bool = False
    count: int = 1
    factor: bool = False
    vector: bool = False

    def bounds(self, level: int) -> tuple[float, float]:
        """Lowest and highest value of the box at a severity from 1 to 5.

        Example:
            >>> Parameter("dose", "%", (80, 60, 50, 35, 25), neutral=100).bounds(5)
            (25, 100)
        """
        value = self.severities[level - 1]
        other = self.neutral
        if self.signed:
            other = 1 / value if self.factor else 2 * self.neutral - value
        return min(value, other), max(value, other)


@dataclass(frozen=True, kw_only=True)
class Shift(ABC):
    """An acquisition shift: a map ``(image, parameters) -> image`` with a box of parameters around doing nothing.

    Args:
        severity: 1 to 5; the box reaches to the parameters of this severity.
        seed: of what is drawn beside the parameters (a noise field, the places of spots); the same for all samples.
        span: lowest and highest value that stand for black and white; None for each sample's own.
        lengths: ``"mm"``, by the image's spacing, or ``"%"`` of the shorter side, for pictures without one.

    Raises:
        ValueError: if an argument is outside its range.
    """

    title: ClassVar[str]
    source: ClassVar[str]  # of the severities
    differentiable: ClassVar[bool] = True  # in its parameters
    geometric: ClassVar[bool] = False  # whether it moves anatomy, and labels with it
    involution: ClassVar[bool] = False  # whether twice is nothing, so that what is seen went where it came from
    needs_spacing: ClassVar[bool] = False
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)

    severity: int = 5
    seed: int = 0
    span: tuple[float, float] | None = None
    lengths: str = "mm"

    def __post_init__(self) -> None:
        if self.severity not in range(1, LEVELS + 1):
            raise ValueError(f"severity must be a whole number from 1 to {LEVELS}, got {self.severity!r}.")
        if self.lengths not in LENGTHS:
            raise ValueError(f"lengths must be one of {LENGTHS}, got {self.lengths!r}.")
        if self.span is not None and not (len(self.span) == 2 and self.span[0] < self.span[1]):
            raise ValueError(f"span must be (low, high) with low < high, or None, got {self.span!r}.")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise ValueError(f"seed must be a whole number >= 0, got {self.seed!r}.")

    # ---- what a shift says

    @abstractmethod
    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Its parameters for images of this many axes."""

    @abstractmethod
    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The shifted image of the same shape, differentiable in image and values.

        Args:
            image: a plain tensor ``(B, C, *spatial)``.
            values: of the parameters ``(B, P)``.
            grid: of the image.
        """

    def sources(self, points: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Where what is seen at points after the shift lay before it; the points themselves if nothing moves.

        Args:
            points: ``(B, N, dims)``, in units of length from the image's center.
            values: ``(B, P)``.
            grid: of the image.
        """
        return points

    # ---- what is done with it

    def __call__(self, image: Tensor, values: Any, *, spacing: Sequence[float] | None = None) -> Tensor:
        """The image as it would have been taken.

        Args:
            image: ``(B, C, *spatial)``, floating point; a MetaTensor keeps its affine.
            values: of the parameters, ``(P,)`` or ``(B, P)``, in their units; not held to the box.
            spacing: of voxels in mm; None for that of a MetaTensor.

        Raises:
            ValueError: if the values do not fit, or a spacing is needed and not known.
        """
        plain = plain_of(image)
        shifted = self.apply(plain, self.checked(values, plain), self.grid(image, spacing))
        return MetaTensor(shifted, meta=image.meta) if isinstance(image, MetaTensor) else shifted

    def grid(self, image: Tensor, spacing: Sequence[float] | None = None) -> Grid:
        """The grid of an image, in the shift's unit of length.

        Raises:
            ValueError: if the image has another rank than the shift takes, or no spacing is known and one is needed.
        """
        if image.ndim - 2 not in self.dimensions or not image.is_floating_point():
            raise ValueError(
                f"image must be a floating-point batch (B, C, *spatial) with {self.dimensions} spatial axes for "
                f"{self.title}, got {tuple(image.shape)} of {image.dtype}."
            )
        return Grid.of(image, spacing, self.lengths, required=self.needs_spacing)

    def checked(self, values: Any, image: Tensor) -> Tensor:
        """The values as ``(B, P)``, of the image's type.

        Raises:
            ValueError: if there are more or fewer, or one is not finite.
        """
        given = values if isinstance(values, Tensor) else torch.as_tensor(values, dtype=torch.float64)
        given, count = given.to(image), sum(p.count for p in self.parameters(image.ndim - 2))
        given = given.reshape(1, -1) if given.ndim < 2 else given
        if given.shape[1] != count or len(given) not in (1, len(image)):
            raise ValueError(
                f"values must be the {count} parameters of {self.title} ({', '.join(self.names(image.ndim - 2))}), "
                f"or such for each of {len(image)} samples, got {tuple(given.shape)}."
            )
        if not bool(given.detach().isfinite().all()):
            raise ValueError(f"values must be finite, got {given.tolist()}.")
        return given.expand(len(image), -1)

    def names(self, dims: int) -> list[str]:
        """A name for every value."""
        found = []
        for p in self.parameters(dims):
            found += [p.name] if p.count == 1 else [f"{p.name} {number + 1}" for number in range(p.count)]
        return found

    def units(self, dims: int) -> list[str]:
        """The unit of every value; millimeters in the shift's unit of length."""
        own = self.parameters(dims)
        return [self.lengths if p.unit == "mm" else p.unit for p in own for _ in range(p.count)]

    def neutral(self, dims: int) -> Tensor:
        """The values at which nothing happens ``(P,)``."""
        return _each(self.parameters(dims), lambda p: p.neutral)

    def box(self, dims: int) -> tuple[Tensor, Tensor]:
        """Lowest and highest values ``(P,)`` at the shift's severity."""
        own = self.parameters(dims)
        low, high = (_each(own, lambda p, end=end: p.bounds(self.severity)[end]) for end in (0, 1))
        return low, high

    def from_unit(self, unit: Tensor, dims: int) -> Tensor:
        """Values of points of the cube [0, 1]^P; factors by their logarithm.

        Args:
            unit: ``(..., P)``.
            dims: axes of the image.
        """
        low, high = (end.to(unit) for end in self.box(dims))
        factor = _each(self.parameters(dims), lambda p: float(p.factor)).to(unit) > 0
        safe_low, safe_high = low.where(factor, 1), high.where(factor, 1)
        geometric = safe_low * (safe_high / safe_low) ** unit
        return torch.where(factor, geometric, low + (high - low) * unit)

    def to_unit(self, values: Tensor, dims: int) -> Tensor:
        """The point of the cube of values in the box, the inverse of `from_unit`."""
        low, high = (end.to(values) for end in self.box(dims))
        factor = _each(self.parameters(dims), lambda p: float(p.factor)).to(values) > 0
        span = (high - low).where(high > low, 1)
        safe_low, safe_high, safe = low.where(factor, 1), high.where(factor, 2), values.where(factor, 1)
        geometric = (safe / safe_low).log() / (safe_high / safe_low).log()
        return torch.where(factor, geometric, (values - low) / span)

    def draw(self, count: int, dims: int, generator: torch.Generator) -> Tensor:
        """Values drawn uniformly from the box ``(count, P)``, factors by their logarithm; float64."""
        size = len(self.neutral(dims))
        unit = torch.rand(count, size, generator=generator, dtype=torch.float64)
        return self.from_unit(unit, dims)

    def at_severity(self, level: int, dims: int, generator: torch.Generator | None = None) -> Tensor:
        """The values of a severity ``(P,)``: every parameter at its value, to a drawn side where it has two."""
        own = dataclasses.replace(self, severity=level)
        values = _each(own.parameters(dims), lambda p: p.severities[level - 1])
        if generator is None:
            return values
        low, high = own.box(dims)
        signed = _each(own.parameters(dims), lambda p: float(p.signed)) > 0
        up = torch.rand(len(values), generator=generator) < 0.5
        return torch.where(signed, torch.where(up, high, low), values)

    def reseeded(self, seed: int) -> Self:
        """The same shift with another field of noise or other places of spots."""
        return dataclasses.replace(self, seed=seed)

    def describe(self, values: Sequence[float] | Tensor, dims: int) -> str:
        """Values as one says them; of several alike the length of their vector, or the largest.

        Args:
            values: ``(P,)``.
            dims: axes of the image.
        """
        said, left = [], [float(v) for v in values]
        for p in self.parameters(dims):
            own, left = left[: p.count], left[p.count :]
            unit = "" if not p.unit else f" {self.lengths if p.unit == 'mm' else p.unit}"
            number = own[0] if p.count == 1 else math.hypot(*own) if p.vector else max(map(abs, own))
            said.append(f"{p.name} {'' if p.count == 1 or p.vector else 'up to '}{number:.3g}{unit}")
        return ", ".join(said)

    def low_high(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Black and white ``(B, 1, ...)``: of `span`, or each sample's own extremes, which are no longer followed."""
        shape = (-1, *[1] * (image.ndim - 1))
        if self.span is not None:
            low, high = (torch.full((len(image),), end).to(image).view(shape) for end in self.span)
            return low, high
        flat = image.detach().flatten(1)
        low, high = flat.amin(1).view(shape), flat.amax(1).view(shape)
        return low, high.where(high > low, low + 1)


def _each(parameters: Sequence[Parameter], value: Any) -> Tensor:
    return torch.tensor([float(value(p)) for p in parameters for _ in range(p.count)], dtype=torch.float64)


def per_image(value: Tensor, image: Tensor) -> Tensor:
    """One value a sample ``(B,)``, ready to be multiplied with the image."""
    return value.view(-1, *[1] * (image.ndim - 1))


def field(image: Tensor, seed: int, number: int = 0, *, channels: int | None = None) -> Tensor:
    """Standard normal values ``(1, C, *spatial)``, the same for every batch of such images."""
    generator = torch.Generator().manual_seed(seed * 1000 + number)
    shape = (image.shape[1] if channels is None else channels, *image.shape[2:])
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(image)[None]
