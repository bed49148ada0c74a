"""The grid of an image in units of length, and what is done along its axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from monai.data import MetaTensor
from torch import Tensor
from torch.nn import functional as F

LENGTHS = ("mm", "%")


def plain_of(image: Tensor) -> Tensor:
    """The image without metadata."""
    return image.as_tensor() if isinstance(image, MetaTensor) else image


@dataclass(frozen=True)
class Grid:
    """Voxels and their size.

    Args:
        shape: number of voxels along every axis.
        spacing: size of a voxel along every axis, in units of length.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]

    @classmethod
    def of(cls, image: Tensor, spacing: Sequence[float] | None, lengths: str, *, required: bool) -> Grid:
        """The grid of a batch.

        Raises:
            ValueError: if millimeters are asked of an image whose voxels have no known size.
        """
        shape = tuple(image.shape[2:])
        if lengths == "%":
            return cls(shape, (100.0 / min(shape),) * len(shape))
        if spacing is None and isinstance(image, MetaTensor):
            affine = image.affine if image.affine.ndim == 2 else image.affine[0]
            spacing = affine[: len(shape), : len(shape)].double().norm(dim=0).tolist()
        if spacing is None and required:
            raise ValueError(
                "image must be a MetaTensor with its affine, or spacing be given, for lengths in mm; of pictures "
                'lengths="%" takes them as shares of the shorter side.'
            )
        found = tuple(float(size) for size in (spacing or [1.0] * len(shape)))
        if len(found) != len(shape) or not all(0 < size < float("inf") for size in found):
            raise ValueError(f"spacing must hold {len(shape)} numbers > 0, got {spacing!r}.")
        return cls(shape, found)

    @property
    def lengths(self) -> tuple[float, ...]:
        """Length of every side."""
        return tuple(n * size for n, size in zip(self.shape, self.spacing, strict=True))

    def points(self, like: Tensor) -> Tensor:
        """Centers of all voxels from that of the image ``(N, dims)``, in units of length."""
        axes = [
            (torch.arange(n).to(like) - (n - 1) / 2) * size for n, size in zip(self.shape, self.spacing, strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)

    def index(self, points: Tensor) -> Tensor:
        """Points as fractional indices of voxels ``(..., dims)``."""
        shape, size = (torch.tensor(values).to(points) for values in (self.shape, self.spacing))
        return points / size + (shape - 1) / 2

    def point(self, index: Tensor) -> Tensor:
        """Fractional indices as points, the inverse of `index`."""
        shape, size = (torch.tensor(values).to(index) for values in (self.shape, self.spacing))
        return (index - (shape - 1) / 2) * size


def sample(image: Tensor, index: Tensor, *, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """Values ``(B, C, N)`` of images at fractional indices ``(B, N, dims)``."""
    dims = image.ndim - 2
    shape = torch.tensor(image.shape[2:]).to(index)
    places = (2 * index / (shape - 1).clamp_min(1) - 1).flip(-1)  # grid_sample counts the last axis first
    places = places.view(len(image), -1, *[1] * (dims - 1), dims)
    return F.grid_sample(image, places, mode=mode, padding_mode=padding, align_corners=True).flatten(2)


def filtered(image: Tensor, axes: Sequence[int], response: Callable[..., Tensor], grid: Grid) -> Tensor:
    """The image filtered along some spatial axes by a response over frequency, mirrored at its ends.

    Args:
        image: ``(B, C, *spatial)``.
        axes: spatial axes, from 0, that are filtered together.
        response: from frequencies along these axes, in cycles per unit of length and ready to broadcast, to the
            factor ``(B or 1, 1, ...)``, real and even.
        grid: of the image.
    """
    mirrored, own = image, [axis + 2 for axis in axes]
    frequencies = []
    for axis in own:
        mirrored = torch.cat([mirrored, mirrored.flip(axis)], axis)
    for place, axis in enumerate(own):
        count, size = mirrored.shape[axis], grid.spacing[axes[place]]
        whole = torch.fft.rfftfreq if axis == own[-1] else torch.fft.fftfreq
        frequency = whole(count, d=size).to(image)
        frequencies.append(frequency.view([-1 if other == axis else 1 for other in range(image.ndim)]))
    spectrum = torch.fft.rfftn(mirrored, dim=own) * response(*frequencies)
    result = torch.fft.irfftn(spectrum, s=[mirrored.shape[axis] for axis in own], dim=own)
    for axis in own:
        result = result.narrow(axis, 0, image.shape[axis])
    return result
