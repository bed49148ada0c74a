"""Gaussian, box and median filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from monai_smia.degradations.base import Degradation, check_spatial, straight_through
from monai_smia.degradations.smoothing import gaussian_taps, smooth


@dataclass(frozen=True)
class Smooth(Degradation):
    """Gaussian smoothing along every spatial axis, the border repeated.

    Args:
        sigma: standard deviation in voxels, > 0; cut off at four of them.

    Example:
        >>> image = torch.zeros(1, 1, 9, 9)
        >>> image[..., 4, 4] = 1.0
        >>> smooth = Smooth(1.0)(image)
        >>> round(float(smooth.sum()), 3), round(float(smooth.max()), 3)
        (1.0, 0.159)
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma < float("inf"):
            raise ValueError(f"sigma must be a finite number > 0, got {self.sigma}.")

    def __call__(self, image: Tensor) -> Tensor:
        return _along_axes(image, gaussian_taps(max(int(4 * self.sigma + 0.5), 1), self.sigma))


@dataclass(frozen=True)
class Box(Degradation):
    """Mean over a box of voxels, the border repeated.

    Args:
        size: voxels along every axis, odd.

    Example:
        >>> round(float(Box(3)(torch.arange(5.0).view(1, 1, 1, 5))[0, 0, 0, 0]), 3)
        0.333
    """

    size: int = 3

    def __post_init__(self) -> None:
        _check_odd(self.size)

    def __call__(self, image: Tensor) -> Tensor:
        return _along_axes(image, [1 / self.size] * (self.size // 2 + 1))


@dataclass(frozen=True)
class Median(Degradation):
    """Median over a box of voxels; the gradient passes straight through.

    Args:
        size: voxels along every axis, odd.

    Example:
        >>> image = torch.zeros(1, 1, 5, 5)
        >>> image[..., 2, 2] = 1.0
        >>> float(Median(3)(image).max())
        0.0
    """

    size: int = 3

    def __post_init__(self) -> None:
        _check_odd(self.size)

    def __call__(self, image: Tensor) -> Tensor:
        check_spatial(image)
        window = (1, 1, *[self.size] * (image.ndim - 2))
        filtered = ndimage.median_filter(image.detach().cpu().numpy(), size=window, mode="nearest")
        return straight_through(image, torch.from_numpy(filtered))


def _along_axes(image: Tensor, taps: Sequence[float]) -> Tensor:
    """Filtered along every spatial axis with a symmetric kernel, from its center outwards; the border repeated."""
    check_spatial(image)
    border = (len(taps) - 1,) * (2 * (image.ndim - 2))
    smoothed = smooth(F.pad(image, border, mode="replicate"), taps)
    return F.pad(smoothed, [-width for width in border])


def _check_odd(size: int) -> None:
    if size < 1 or size % 2 != 1:
        raise ValueError(f"size must be an odd number >= 1, got {size}.")
