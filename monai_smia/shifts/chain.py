"""Shifts one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from monai_smia.shifts.base import Parameter, Shift
from monai_smia.shifts.grid import Grid


@dataclass(frozen=True, kw_only=True)
class ShiftChain(Shift):
    """Shifts one after the other, each with its box; severity, span and lengths are theirs.

    Args:
        shifts: in the order in which they happen, of one unit of length.

    Raises:
        ValueError: if there are none, or their units of length differ.

    Example:
        >>> from monai_smia.shifts import HUCalibration, RigidMotion
        >>> chain = ShiftChain(shifts=(RigidMotion(), HUCalibration()))
        >>> chain.describe([3.1, 2.0, 0.0, 7.0, 0.0], dims=2)
        'rotation 3.1 degrees, translation 2 mm, offset 7 HU, slope 0 %'
    """

    title: ClassVar[str] = "chain"
    source: ClassVar[str] = "Those of its shifts."

    shifts: Sequence[Shift]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.shifts or not all(isinstance(shift, Shift) for shift in self.shifts):
            raise ValueError(f"shifts must hold at least one shift, got {self.shifts!r}.")
        if len({shift.lengths for shift in self.shifts}) > 1:
            raise ValueError(f"shifts must have one unit of length, got {[s.lengths for s in self.shifts]}.")
        object.__setattr__(self, "shifts", tuple(self.shifts))
        object.__setattr__(self, "lengths", self.shifts[0].lengths)
        object.__setattr__(self, "title", " + ".join(shift.title for shift in self.shifts))
        object.__setattr__(self, "differentiable", all(shift.differentiable for shift in self.shifts))
        object.__setattr__(self, "geometric", any(shift.geometric for shift in self.shifts))
        object.__setattr__(self, "needs_spacing", any(shift.needs_spacing for shift in self.shifts))
        every = set.intersection(*(set(shift.dimensions) for shift in self.shifts))
        object.__setattr__(self, "dimensions", tuple(sorted(every)))

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Those of all shifts."""
        return tuple(parameter for shift in self.shifts for parameter in shift.parameters(dims))

    def box(self, dims: int) -> tuple[Tensor, Tensor]:
        """The boxes of all shifts."""
        low, high = zip(*(shift.box(dims) for shift in self.shifts), strict=True)
        return torch.cat(low), torch.cat(high)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """One after the other."""
        for shift, own in self.parts(values, len(grid.shape)):
            image = shift.apply(image, own, grid)
        return image

    def sources(self, points: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """From the last shift to the first."""
        for shift, own in reversed(self.parts(values, len(grid.shape))):
            points = shift.sources(points, own, grid)
        return points

    def at_severity(self, level: int, dims: int, generator: torch.Generator | None = None) -> Tensor:
        """Those of all shifts at this severity."""
        return torch.cat([shift.at_severity(level, dims, generator) for shift in self.shifts])

    def reseeded(self, seed: int) -> Self:
        """All of them."""
        return dataclasses.replace(self, shifts=[shift.reseeded(seed) for shift in self.shifts], seed=seed)

    def parts(self, values: Tensor, dims: int) -> list[tuple[Shift, Tensor]]:
        """Every shift with its own of the values ``(B, P)``."""
        own = values.split([len(shift.neutral(dims)) for shift in self.shifts], dim=1)
        return list(zip(self.shifts, own, strict=True))
