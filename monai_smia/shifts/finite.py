"""Shifts of which there are finitely many, so that all of them can be tried: `monai_smia.attacks.TryAll`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from monai_smia.shifts.base import Parameter, Shift, per_image
from monai_smia.shifts.ct import HUCalibration, HUOffset
from monai_smia.shifts.geometry import Flip
from monai_smia.shifts.grid import Grid


@dataclass(frozen=True, kw_only=True)
class StoredCalibration(HUCalibration):
    """Offset and slope of the CT numbers as a file holds them: what is added to a voxel is a whole number of HU.

    Example:
        >>> StoredCalibration()(torch.tensor([[[[-1000.0, 40.0]]]]), [3.0, 1.0])
        tensor([[[[-1007.,    43.]]]])
    """

    title: ClassVar[str] = "stored HU calibration"
    differentiable: ClassVar[bool] = False

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The same for all voxels, rounded."""
        return image + (super().apply(image, values, grid) - image).round()


@dataclass(frozen=True, kw_only=True)
class WindowSetting(Shift):
    """A window that the console was set to by mistake, in whole HU: gray levels are read as those of another one.

    A voxel at the share s of the window that was set is read as the value at s of `window`; values outside are
    continued in a straight line, and cut by whoever cuts them. What is added is a whole number of HU.

    Args:
        window: lowest and highest HU that gray levels are read by.

    Raises:
        ValueError: if the window is empty, or narrower than the box allows.

    Example:
        >>> WindowSetting(window=(-1000, 400))(torch.tensor([[[[-1000.0, -300.0, 400.0]]]]), [20.0, 0.0])
        tensor([[[[-1020.,  -320.,   380.]]]])
    """

    title: ClassVar[str] = "window setting"
    source: ClassVar[str] = "Our choice: level 5 to 80 HU and width 10 to 160 HU beside those that are meant."
    differentiable: ClassVar[bool] = False

    window: tuple[float, float] = (-1000.0, 400.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "window", tuple(float(end) for end in self.window))
        if len(self.window) != 2 or not self.window[1] - self.window[0] > 160:
            raise ValueError(f"window must be (low, high), wider than 160 HU, got {self.window}.")

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """How far level and width are off."""
        return (
            Parameter("level", "HU", (5.0, 10.0, 20.0, 40.0, 80.0), signed=True),
            Parameter("width", "HU", (10.0, 20.0, 40.0, 80.0, 160.0), signed=True),
        )

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The same for all voxels."""
        low, high = self.window
        level, wide = (per_image(values[:, place], image) for place in (0, 1))
        width = high - low
        first = (low + high) / 2 + level - (width + wide) / 2
        read = low + (image - first) * (width / (width + wide))
        return image + (read - image).round()


@dataclass(frozen=True, kw_only=True)
class SlicePhase(Shift):
    """Slices of several times the thickness, and where the first one begins: each is the mean of those it covers.

    On the grid of the image: every slice holds the value of the thick one that it is a part of. Thick slices at the
    ends of the volume hold fewer.

    Args:
        whole: whether what is added to a voxel is a whole number, as in a file of a CT.

    Example:
        >>> volume = torch.arange(6.0).view(1, 1, 1, 1, 6)
        >>> SlicePhase()(volume, [2.0, 1.0]).flatten().tolist()  # pairs begin after the first slice
        [0.0, 1.5, 1.5, 3.5, 3.5, 5.0]
    """

    title: ClassVar[str] = "slice phase"
    source: ClassVar[str] = "Two to six slices in one, our choice, and every slice that a thick one may begin at."
    differentiable: ClassVar[bool] = False
    dimensions: ClassVar[tuple[int, ...]] = (3,)

    whole: bool = False

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """How many slices are one, and after how many the first one ends early."""
        return (
            Parameter("slices in one", "", (2.0, 3.0, 4.0, 5.0, 6.0), neutral=1.0),
            Parameter("phase", "slices", (1.0, 2.0, 3.0, 4.0, 5.0)),
        )

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Along the last axis, sample by sample, at whole values."""
        found = []
        for one, (count, phase) in zip(image, values.detach().round().long().tolist(), strict=True):
            places = torch.arange(one.shape[-1], device=one.device)
            slab = (places + (-phase) % max(count, 1)) // max(count, 1)
            number = int(slab.max()) + 1
            mean = one.new_zeros(*one.shape[:-1], number).index_add(-1, slab, one)
            mean = mean / slab.bincount(minlength=number).to(one)
            changed = mean[..., slab] - one
            found.append(one + (changed.round() if self.whole else changed))
        return torch.stack(found)


# by name: the shift, and the distance of neighboring values of every parameter
FINITE: dict[str, tuple[type[Shift], tuple[float, ...]]] = {
    "HUOffset": (HUOffset, (1.0,)),
    "StoredCalibration": (StoredCalibration, (2.0, 0.5)),
    "WindowSetting": (WindowSetting, (5.0, 10.0)),
    "SlicePhase": (SlicePhase, (1.0,)),
    "Flip": (Flip, (1.0,)),
}
OF_CT = ("HUOffset", "StoredCalibration", "WindowSetting")
