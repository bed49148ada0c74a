"""All parameters of a shift on a lattice: of a finite set the worst case is a proof."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch

from monai_smia.attacks.shift_search import Found, ShiftSearch
from monai_smia.attacks.steps import steps

MOST = 100_000  # points of a lattice


@dataclass(kw_only=True, eq=False)
class TryAll(ShiftSearch):
    """All parameters of a shift on a lattice, one after the other: of a finite set the worst case is a proof.

    CT numbers are stored as whole numbers, so that an offset is one of a finite set: with ``lattice=(1,)`` of
    `HUOffset` every HU in the box is tried, through the victim (or the deployed pipeline, as `judge`), and nothing
    between them exists in a file.

    Args:
        lattice: distance of neighboring values of every parameter, > 0, in its unit, counted from the neutral value;
            one for all parameters or one for each.

    The other arguments are those of `ShiftSearch`.

    Raises:
        ValueError: if a distance is not > 0, or in use, if there would be more than 100,000 points.

    Example:
        >>> from monai_smia.shifts import HUOffset
        >>> len(list(TryAll(HUOffset(severity=1), lattice=(1.0,)).points(3)))
        9
    """

    lattice: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_fixed(eps=0.0)
        if not self.lattice or not all(0 < float(size) < float("inf") for size in self.lattice):
            raise ValueError(f"lattice must hold numbers > 0, got {self.lattice!r}.")

    @property
    def planned_gradients(self) -> int:
        """None."""
        return 0

    @property
    def queries(self) -> int:
        """As many as there are points, of a volume."""
        return self.count(max(self.shift.dimensions))

    @property
    def knowledge(self) -> str:
        """Predictions alone."""
        return "black box"

    def count(self, dims: int) -> int:
        """How many points the lattice has."""
        count = 1
        for axis in self._axes(dims):
            count *= len(axis)
        return count

    def points(self, dims: int) -> Iterator[tuple[float, ...]]:
        """All values of the parameters, the neutral ones included.

        Raises:
            ValueError: if there are too many, or the lattice does not fit the parameters.
        """
        if self.count(dims) > MOST:
            raise ValueError(f"lattice must have at most {MOST} points, got {self.count(dims)}; take a coarser one.")
        return product(*self._axes(dims))

    def told(self, dims: int) -> str:
        """The distance of neighboring values, as one says it.

        Example:
            >>> from monai_smia.shifts import HUCalibration
            >>> TryAll(HUCalibration(), lattice=(1.0, 0.5)).told(3)
            'offset 1 HU, slope 0.5 %'
        """
        names, units = self.shift.names(dims), self.shift.units(dims)
        sizes = list(self.lattice) * (len(names) if len(self.lattice) == 1 else 1)
        told = [f"{n} {size:g} {unit}".rstrip() for n, size, unit in zip(names, sizes, units, strict=True) if unit]
        return ", ".join(dict.fromkeys(told))

    def _axes(self, dims: int) -> list[list[float]]:
        low, high = self.shift.box(dims)
        neutral, sizes = self.shift.neutral(dims), list(self.lattice)
        sizes = sizes * len(low) if len(sizes) == 1 else sizes
        if len(sizes) != len(low):
            raise ValueError(f"lattice must hold one number, or one for each of {len(low)} parameters, got {sizes}.")
        axes = []
        for least, most, middle, size in zip(low.tolist(), high.tolist(), neutral.tolist(), sizes, strict=True):
            first, last = -int((middle - least) / size + 1e-9), int((most - middle) / size + 1e-9)
            axes.append([middle + number * size for number in range(first, last + 1)])
        return axes

    def search(self, found: Found) -> None:
        """Try them all."""
        points = list(self.points(found.dims))
        image = found.problem.image
        for number in steps(len(points), name=f"{self.name}, all", show=self.progress):
            found.try_values(torch.tensor(points[number]).to(image).expand(len(image), -1), listed=True)
