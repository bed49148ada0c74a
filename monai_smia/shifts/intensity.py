"""Shifts of intensity and sharpness that every modality has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from monai_smia.shifts.base import Parameter, Shift, field, per_image
from monai_smia.shifts.grid import Grid, filtered

TINY = 1e-12
TO_SIGMA = 1 / (2 * math.sqrt(2 * math.log(2)))  # of a Gaussian's full width at half maximum


@dataclass(frozen=True, kw_only=True)
class Blur(Shift):
    """A Gaussian point spread function: defocus, a larger detector element, a smooth reconstruction.

    Example:
        >>> image = torch.zeros(1, 1, 9, 9)
        >>> image[..., 4, 4] = 1
        >>> half = Blur()(image, [4.0], spacing=(1, 1))[0, 0, 4]  # at two pixels it is half of the peak
        >>> round(float(half[6] / half[4]), 2)
        0.5
    """

    title: ClassVar[str] = "blur"
    source: ClassVar[str] = (
        "Level 5 is the widest of TorchIO's RandomBlur by default, a standard deviation of 2 mm (full width at half "
        "maximum 4.7 mm); levels 1 to 4 are 20 to 80 % of it."
    )
    needs_spacing: ClassVar[bool] = True

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Full width at half maximum."""
        return (Parameter("blur (FWHM)", "mm", (0.94, 1.9, 2.8, 3.8, 4.7)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Along one axis after the other."""
        for axis in range(len(grid.shape)):
            sigma = per_image(values[:, 0] * TO_SIGMA, image)

            def gaussian(f: Tensor, sigma: Tensor = sigma) -> Tensor:
                return torch.exp(-2 * (math.pi * sigma * f).square())

            image = filtered(image, [axis], gaussian, grid)
        return image


@dataclass(frozen=True, kw_only=True)
class NoiseLevel(Shift):
    """White Gaussian noise, of one field whose size is the parameter.

    Example:
        >>> noise = NoiseLevel(span=(0.0, 1.0))(torch.zeros(1, 1, 64, 64), [10.0])
        >>> round(float(noise.std()), 2)
        0.1
    """

    title: ClassVar[str] = "noise"
    source: ClassVar[str] = (
        "Level 5 is the default standard deviation of MONAI's RandGaussianNoise, .1 of the range; levels 1 to 4 are 20 "
        "to 80 % of it."
    )

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Standard deviation."""
        return (Parameter("noise", "% of the range", (2.0, 4.0, 6.0, 8.0, 10.0)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The image plus noise."""
        low, high = self.low_high(image)
        return image + per_image(values[:, 0] / 100, image) * (high - low) * field(image, self.seed)


@dataclass(frozen=True, kw_only=True)
class Gamma(Shift):
    """A power of the intensity between black and white; what lies outside of them is left alone.

    Example:
        >>> Gamma(span=(0.0, 1.0))(torch.full((1, 1, 2, 2), 0.25), [0.5])[0, 0, 0]
        tensor([0.5000, 0.5000])
    """

    title: ClassVar[str] = "gamma"
    source: ClassVar[str] = (
        "Level 5 is the default range of TorchIO's RandomGamma, e^(+-.3); levels 1 to 4 are 20 to 80 % of the exponent."
    )

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """The exponent."""
        return (Parameter("gamma", "", (1.06, 1.13, 1.2, 1.27, 1.35), neutral=1.0, signed=True, factor=True),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """By the power."""
        low, high = self.low_high(image)
        share = (image - low) / (high - low)
        inside = (share > TINY) & (share < 1)
        raised = low + (high - low) * share.where(inside, 0.5) ** per_image(values[:, 0], image)
        return torch.where(inside, raised, image)


@dataclass(frozen=True, kw_only=True)
class Contrast(Shift):
    """Contrast about the image's mean, and brightness.

    Example:
        >>> Contrast(span=(0.0, 1.0))(torch.tensor([[[[0.4, 0.6]]]]), [50.0, 10.0])
        tensor([[[[0.4500, 0.7500]]]])
    """

    title: ClassVar[str] = "contrast"
    source: ClassVar[str] = (
        "Level 5 of contrast is the range of nnU-Net's augmentation, 25 % (Isensee et al., 2021); of brightness 15 %, "
        "and levels 1 to 4, our choice."
    )

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Both as shares."""
        return (
            Parameter("contrast", "%", (5.0, 10.0, 15.0, 20.0, 25.0), signed=True),
            Parameter("brightness", "% of the range", (3.0, 6.0, 9.0, 12.0, 15.0), signed=True),
        )

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """About the mean, which is no longer followed."""
        low, high = self.low_high(image)
        mean = per_image(image.detach().flatten(1).mean(1), image)
        change = (image - mean) * per_image(values[:, 0] / 100, image)
        return image + change + per_image(values[:, 1] / 100, image) * (high - low)
