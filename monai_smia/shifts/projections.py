"""Parallel-beam projections of slices and filtered backprojection, differentiable (Kak & Slaney, 1988, chapter 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from monai_smia.shifts.grid import Grid, sample

WATER = 0.0193  # attenuation per mm at about 70 keV
ANGLES = 120
LARGEST = 256  # pixels along a side of what is projected


def slices_of(image: Tensor) -> Tensor:
    """The slices of a batch, those along the last axis of volumes ``(B * S, 1, H, W)``."""
    if image.ndim == 4:
        return image.flatten(0, 1)[:, None]
    return image.movedim(-1, 2).flatten(0, 2)[:, None]


def from_slices(slices: Tensor, like: Tensor) -> Tensor:
    """The inverse of `slices_of`."""
    if like.ndim == 4:
        return slices.view_as(like)
    batch, channels, height, width, depth = like.shape
    return slices.view(batch, channels, depth, height, width).movedim(2, -1)


def attenuation(hounsfield: Tensor) -> Tensor:
    """Linear attenuation per mm of a CT number, none below air."""
    return WATER * (1 + hounsfield / 1000).clamp_min(0)


class Scanner:
    """A parallel beam around slices of one size.

    Args:
        shape: pixels of a slice ``(H, W)``.
        spacing: of them in mm.
        like: of the type and on the device that is wanted.
        angles: how many, over half a turn.

    Example:
        >>> disc = (Grid((41, 41), (1.0, 1.0)).points(torch.zeros(1)).norm(dim=1) < 15).float().view(1, 1, 41, 41)
        >>> scanner = Scanner((41, 41), (1.0, 1.0), disc)
        >>> round(float(scanner.project(disc).max()))
        31
        >>> round(float(scanner.reconstruct(scanner.project(disc))[0, 0, 20, 20]), 1)
        1.0
    """

    def __init__(self, shape: tuple[int, ...], spacing: tuple[float, ...], like: Tensor, angles: int = ANGLES) -> None:
        self.grid = Grid(tuple(shape), tuple(spacing))
        self.step = min(spacing)
        half = math.ceil(math.hypot(*self.grid.lengths) / 2 / self.step) + 1
        self.places = torch.arange(-half, half + 1).to(like) * self.step  # of the detector, in mm
        self.theta = (torch.arange(angles).to(like) + 0.5) * math.pi / angles

    def project(self, slices: Tensor) -> Tensor:
        """Line integrals ``(N, 1, angles, detectors)`` of slices ``(N, 1, H, W)``."""
        along, across = torch.meshgrid(self.places, self.places, indexing="ij")  # (ray, detector)
        found = []
        for theta in self.theta:
            first = across * theta.cos() - along * theta.sin()
            second = across * theta.sin() + along * theta.cos()
            index = self.grid.index(torch.stack([first, second], -1).flatten(0, 1))
            values = sample(slices, index.expand(len(slices), -1, -1), padding="zeros")
            found.append(values.view(len(slices), 1, *along.shape).sum(2) * self.step)
        return torch.stack(found, 2)

    def reconstruct(self, sinogram: Tensor) -> Tensor:
        """Slices ``(N, 1, H, W)`` by the band-limited ramp filter and linear backprojection."""
        count = len(self.places)
        size = 2 ** math.ceil(math.log2(2 * count))
        place = torch.arange(size).to(sinogram)
        place = torch.minimum(place, size - place)
        odd = place % 2 == 1
        kernel = torch.where(odd, -1 / (math.pi * place.where(odd, 1) * self.step).square(), torch.zeros_like(place))
        kernel[0] = 1 / (4 * self.step**2)
        spectrum = torch.fft.rfft(sinogram, size) * torch.fft.rfft(kernel).real
        ramped = torch.fft.irfft(spectrum, size)[..., :count] * self.step
        points = self.grid.points(sinogram)
        total = torch.zeros(len(sinogram), len(points)).to(sinogram)
        for number, theta in enumerate(self.theta):
            where = (points[:, 0] * theta.cos() + points[:, 1] * theta.sin()) / self.step + count // 2
            low = where.floor().long().clamp(0, count - 2)
            share = where - low
            row = ramped[:, 0, number]
            total = total + row[:, low] * (1 - share) + row[:, low + 1] * share
        return (total * math.pi / len(self.theta)).view(-1, 1, *self.grid.shape)


def scanner_for(grid: Grid, like: Tensor) -> tuple[Scanner, int]:
    """A scanner for the slices of an image, and by what factor they are made coarser to be projected."""
    shape, spacing = grid.shape[:2], grid.spacing[:2]
    factor = max(1, math.ceil(max(shape) / LARGEST))
    coarse = tuple(max(1, n // factor) for n in shape)
    sizes = tuple(size * n / m for size, n, m in zip(spacing, shape, coarse, strict=True))
    return Scanner(coarse, sizes, like), factor
