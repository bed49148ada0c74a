"""Shifts that move anatomy: labels and boxes are moved by the same parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from monai_smia.shifts.base import Parameter, Shift
from monai_smia.shifts.grid import Grid, sample


@dataclass(frozen=True, kw_only=True)
class GeometricShift(Shift):
    """A shift that moves anatomy; a subclass says by `sources` where what is seen comes from.

    Images are interpolated linearly and continued beyond their border by its voxels.
    """

    geometric: ClassVar[bool] = True
    needs_spacing: ClassVar[bool] = True

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The image, sampled where every voxel comes from."""
        points = grid.points(image).expand(len(image), -1, -1)
        index = grid.index(points) + self.moved_by(points, values, grid) / torch.tensor(grid.spacing).to(points)
        return sample(image, index).view_as(image)

    def moved_by(self, points: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """How far from a point lies what is seen there after the shift; zero, exactly, where nothing moves."""
        return self.sources(points, values, grid) - points


@dataclass(frozen=True, kw_only=True)
class RigidMotion(GeometricShift):
    """The patient, or the camera, rotated about the image's center and moved.

    Rotations are about the array's axes (of pictures about the one that they lack), one after the other; a positive
    angle turns the first of two axes toward the second.

    Example:
        >>> image = torch.zeros(1, 1, 5, 5)
        >>> image[..., 1, 2] = 1
        >>> moved = RigidMotion()(image, [0.0, 2.0, 0.0], spacing=(1, 1))
        >>> moved[0, 0].nonzero().tolist()
        [[3, 2]]
    """

    title: ClassVar[str] = "rigid motion"
    source: ClassVar[str] = (
        "Level 5 is the default range of TorchIO's RandomMotion, 10 degrees and 10 mm (Perez-Garcia et al., 2021); "
        "levels 1 to 4 are 10, 20, 35 and 60 % of it."
    )

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """An angle for every plane and a length for every axis."""
        five = (1.0, 2.0, 3.5, 6.0, 10.0)
        return (
            Parameter("rotation", "degrees", five, signed=True, count=3 if dims == 3 else 1, vector=True),
            Parameter("translation", "mm", five, signed=True, count=dims, vector=True),
        )

    def sources(self, points: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The inverse motion."""
        dims = points.shape[-1]
        planes = [(0, 1)] if dims == 2 else [(1, 2), (0, 2), (0, 1)]
        angles = torch.deg2rad(values[:, : len(planes)])
        found = points - values[:, None, len(planes) :]
        for place, (first, second) in reversed(list(enumerate(planes))):
            cos, sin = angles[:, place, None].cos(), angles[:, place, None].sin()
            axes = list(found.unbind(-1))
            axes[first], axes[second] = (
                cos * axes[first] + sin * axes[second],
                cos * axes[second] - sin * axes[first],
            )
            found = torch.stack(axes, -1)
        return found


@dataclass(frozen=True, kw_only=True)
class Zoom(GeometricShift):
    """A larger or smaller patient, or another field of view.

    Example:
        >>> Zoom()(torch.rand(1, 1, 5, 5), [1.0], spacing=(1, 1)).shape
        torch.Size([1, 1, 5, 5])
    """

    title: ClassVar[str] = "size"
    source: ClassVar[str] = "Level 5 is the default range of TorchIO's RandomAffine, 10 %; levels 1 to 4 are 2 to 8 %."

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """A factor."""
        return (Parameter("size", "times", (1.02, 1.04, 1.06, 1.08, 1.1), neutral=1.0, signed=True, factor=True),)

    def sources(self, points: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Nearer to the center of what is enlarged."""
        return points / values[:, None]


@dataclass(frozen=True, kw_only=True)
class SmoothDeformation(GeometricShift):
    """Soft tissue displaced by products of sines over the field of view, at most two half waves an axis.

    The parameters are the amplitudes, whose sum is the largest displacement along an axis. The Jacobian determinant is
    positive, so that nothing folds, wherever ``2 pi * displacement * sum(1 / side) < 1``; a field of view that is too
    small for it is refused. The border stays where it is.

    Example:
        >>> shift = SmoothDeformation(severity=1)
        >>> shift.describe(shift.at_severity(1, 2), 2)
        'deformation up to 1.5 mm'
    """

    title: ClassVar[str] = "smooth deformation"
    source: ClassVar[str] = (
        "Level 5 is the default largest displacement of TorchIO's RandomElasticDeformation, 7.5 mm; levels 1 to 4 are "
        "20 to 80 % of it."
    )

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """An amplitude for every axis and product of sines."""
        modes = 2**dims
        return (
            Parameter(
                "deformation",
                "mm",
                tuple(level / modes for level in (1.5, 3.0, 4.5, 6.0, 7.5)),
                signed=True,
                count=dims * modes,
            ),
        )

    def describe(self, values: Sequence[float] | Tensor, dims: int) -> str:
        """The largest displacement that these amplitudes allow along an axis."""
        amplitudes = torch.as_tensor(values).double().view(dims, -1)
        return f"deformation up to {float(amplitudes.abs().sum(1).max()):.3g} {self.lengths}"

    def sources(self, points: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Displaced along every axis.

        Raises:
            ValueError: if the displacements may fold.
        """
        dims = points.shape[-1]
        amplitudes = values.view(len(values), dims, -1)
        sides = [max(n - 1, 1) * size for n, size in zip(grid.shape, grid.spacing, strict=True)]
        largest = float(amplitudes.detach().abs().sum(-1).amax())
        if 2 * math.pi * largest * sum(1 / side for side in sides) >= 1:
            raise ValueError(
                f"severity must be lower for {self.title} of an image of {' x '.join(f'{s:.3g}' for s in sides)} "
                f"{self.lengths}: displacements of {largest:.3g} {self.lengths} may fold."
            )
        waves = torch.ones_like(points[..., :1])
        for axis, side in enumerate(sides):
            place = math.pi * (points[..., axis : axis + 1] / side + 0.5)
            own = torch.cat([place.sin(), (2 * place).sin()], -1)
            waves = (waves[..., None] * own[..., None, :]).flatten(-2)
        return points + waves @ amplitudes.transpose(1, 2)


@dataclass(frozen=True, kw_only=True)
class Breathing(GeometricShift):
    """Slabs of a volume taken at other depths of breath: each is displaced along the patient's axis, the last one.

    At the border of two slabs anatomy is doubled or left out, as in CT of a breathing patient.

    Args:
        slabs: how many.

    Example:
        >>> Breathing(slabs=2).names(3)
        ['breathing 1', 'breathing 2']
    """

    title: ClassVar[str] = "breathing"
    source: ClassVar[str] = (
        "Level 5 is the mean motion along the patient's axis of unfixed tumors of the lower lobes, 12 mm "
        "(Seppenwoolde et al., 2002); levels 1 to 4 are parts of it, our choice."
    )
    dimensions: ClassVar[tuple[int, ...]] = (3,)
    slabs: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.slabs, int) or self.slabs < 2:
            raise ValueError(f"slabs must be a whole number >= 2, got {self.slabs!r}.")

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """A length for every slab."""
        return (Parameter("breathing", "mm", (2.0, 4.0, 6.0, 9.0, 12.0), signed=True, count=self.slabs),)

    def sources(self, points: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Each slab from elsewhere along the last axis."""
        depth = points[..., -1]
        slab = ((depth / grid.lengths[-1] + 0.5) * self.slabs).floor().long().clamp(0, self.slabs - 1)
        return torch.cat([points[..., :-1], (depth - values.gather(1, slab))[..., None]], -1)


@dataclass(frozen=True, kw_only=True)
class Flip(GeometricShift):
    """Axes read backwards, as from a header that is wrong: a switch for every axis, no matter of degree.

    Example:
        >>> Flip()(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), [0, 1])
        tensor([[[[2., 1.],
                  [4., 3.]]]])
    """

    title: ClassVar[str] = "flip"
    source: ClassVar[str] = "On or off; severities are alike."
    differentiable: ClassVar[bool] = False
    involution: ClassVar[bool] = True
    needs_spacing: ClassVar[bool] = False

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """A switch for every axis."""
        return (Parameter("flip", "", (1.0, 1.0, 1.0, 1.0, 1.0), count=dims),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Sample by sample, to the bit."""
        found = []
        for one, switches in zip(image, values.detach(), strict=True):
            axes = [axis + 1 for axis, switch in enumerate(switches.tolist()) if switch >= 0.5]
            found.append(one.flip(axes) if axes else one)
        return torch.stack(found)

    def sources(self, points: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """On the other side of the center."""
        return torch.where(values[:, None] >= 0.5, -points, points)
