"""Shifts of what the frame holds: less of the patient, or bubbles before the lens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from monai_smia.shifts.base import Parameter, Shift, per_image
from monai_smia.shifts.grid import Grid
from monai_smia.shifts.pictures import PictureShift

AIR = -1000.0  # HU


@dataclass(frozen=True, kw_only=True)
class FieldOfView(Shift):
    """A smaller field of view of a CT: what lies farther out in the slices was not reconstructed and is air.

    On the grid of the image, with an edge of one pixel. Labels stay: anatomy that is no longer seen counts as missed.

    Example:
        >>> FieldOfView()(torch.zeros(1, 1, 4, 4), [1.0], spacing=(1, 1))[0, 0, 1]
        tensor([-1000.,     0.,     0., -1000.])
    """

    title: ClassVar[str] = "field of view"
    source: ClassVar[str] = "5 to 30 mm less at every side of the slices, our choice."
    needs_spacing: ClassVar[bool] = True

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """How much is cut off at every side."""
        return (Parameter("cut at every side", "mm", (5.0, 10.0, 15.0, 20.0, 30.0)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The same rectangle in every slice."""
        cut, seen = per_image(values[:, 0], image), torch.ones_like(image[:1, :1])
        for axis in range(2):
            size, count = grid.spacing[axis], grid.shape[axis]
            from_middle = ((torch.arange(count).to(image) - (count - 1) / 2) * size).abs()
            place = from_middle.view([-1 if other == axis + 2 else 1 for other in range(image.ndim)])
            seen = seen * ((count * size / 2 - cut - place) / size + 0.5).clamp(0, 1)
        return AIR + (image - AIR) * seen


@dataclass(frozen=True, kw_only=True)
class Bubbles(PictureShift):
    """Bubbles before the lens: bright rims at drawn places, through which the picture is seen.

    Args:
        count: of bubbles.

    Example:
        >>> seen = Bubbles(span=(0.0, 1.0))(torch.zeros(1, 3, 64, 64), [50.0])
        >>> 0.4 < float(seen.max()) <= 0.5, float(seen.median()) < 0.05
        (True, True)
    """

    title: ClassVar[str] = "bubbles"
    source: ClassVar[str] = "Rims of 15 to 75 % of white, our choice; bubbles of 3 to 8 % of the shorter side."
    count: int = 8

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """How near to white the rims are."""
        return (Parameter("rims", "% of white", (15.0, 30.0, 45.0, 60.0, 75.0)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Toward white, where a blob is half of its height."""
        _, high = self.low_high(image)
        blobs = self.blobs(image, grid, self.count, (0.03, 0.08))
        return image + per_image(values[:, 0] / 100, image) * 4 * blobs * (1 - blobs) * (high - image)
