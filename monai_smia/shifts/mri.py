"""Shifts of magnetic resonance imaging."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor

from monai_smia.shifts.base import Parameter, Shift, field, per_image
from monai_smia.shifts.grid import Grid, filtered

ORDER = 3


@dataclass(frozen=True, kw_only=True)
class BiasField(Shift):
    """Inhomogeneity of the receive coil: the exponential of a polynomial, Legendre's, of third degree.

    The constant term, which is gain, is left out.

    Example:
        >>> shift = BiasField()
        >>> len(shift.names(2)), len(shift.names(3))
        (9, 19)
    """

    title: ClassVar[str] = "bias field"
    source: ClassVar[str] = (
        "Level 5 is the default of MONAI's RandBiasField, coefficients up to .1 of degree 3; levels 1 to 4 are 20 to "
        "80 % of it."
    )

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """A coefficient for every polynomial."""
        return (Parameter("bias", "%", (2.0, 4.0, 6.0, 8.0, 10.0), signed=True, count=len(degrees(dims))),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The product with the field."""
        low, _ = self.low_high(image)
        axes = [legendre(torch.linspace(-1, 1, n).to(image) if n > 1 else image.new_zeros(1)) for n in grid.shape]
        total = torch.zeros_like(image[:, :1])
        for number, powers in enumerate(degrees(len(grid.shape))):
            wave = torch.ones(()).to(image)
            for axis, power in enumerate(powers):
                wave = wave[..., None] * axes[axis][power]
            total = total + per_image(values[:, number] / 100, image) * wave
        return low + (image - low) * total.exp()


def degrees(dims: int) -> list[tuple[int, ...]]:
    """The degrees along every axis of the polynomials up to the third, without the constant.

    Example:
        >>> degrees(2)[:4]
        [(0, 1), (0, 2), (0, 3), (1, 0)]
    """
    return [powers for powers in product(range(ORDER + 1), repeat=dims) if 0 < sum(powers) <= ORDER]


def legendre(x: Tensor) -> list[Tensor]:
    """Legendre's polynomials of degree 0 to 3."""
    return [torch.ones_like(x), x, (3 * x**2 - 1) / 2, (5 * x**3 - 3 * x) / 2]


@dataclass(frozen=True, kw_only=True)
class RicianNoise(Shift):
    """Noise of a magnitude image: both parts of the complex signal get Gaussian noise.

    Example:
        >>> noise = RicianNoise(span=(0.0, 1.0))(torch.zeros(1, 1, 64, 64), [10.0])
        >>> round(float(noise.mean()), 2)  # Rayleigh's: .1 times the root of pi / 2
        0.12
    """

    title: ClassVar[str] = "Rician noise"
    source: ClassVar[str] = "2 to 10 % of the range, as of Gaussian noise; 9 % is the noisiest of BrainWeb's phantoms."

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Standard deviation of either part."""
        return (Parameter("noise", "% of the range", (2.0, 4.0, 6.0, 8.0, 10.0)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The magnitude, from black on."""
        low, high = self.low_high(image)
        size = per_image(values[:, 0] / 100, image) * (high - low)
        real = image - low + size * field(image, self.seed)
        square = real.square() + (size * field(image, self.seed, 1)).square()
        some = (per_image(values[:, 0], image) > 0) & (square > 0)
        return torch.where(some, low + square.where(some, 1).sqrt(), image)


@dataclass(frozen=True, kw_only=True)
class KSpaceMotion(Shift):
    """A patient who moves between the segments of k-space, which ghosts; lines near its center were taken at rest.

    Translations along all axes; the phase-encoding axis is the first one. The image is the real part.

    Args:
        segments: how many, on either side of the center.

    Example:
        >>> KSpaceMotion(segments=2).names(2)
        ['motion 1', 'motion 2', 'motion 3', 'motion 4']
    """

    title: ClassVar[str] = "motion in k-space"
    source: ClassVar[str] = (
        "Level 5 is the default translation of TorchIO's RandomMotion, 10 mm; levels 1 to 4 are 10, 20, 40 and 70 % of "
        "it."
    )
    needs_spacing: ClassVar[bool] = True
    segments: int = 3

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """A length for every segment and axis."""
        five = (1.0, 2.0, 4.0, 7.0, 10.0)
        return (Parameter("motion", "mm", five, signed=True, count=self.segments * dims),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Every line by the phase of its translation."""
        dims = len(grid.shape)
        axes = list(range(2, 2 + dims))
        moved = values.view(len(values), self.segments, dims)
        rest = torch.zeros_like(moved[:, :1])
        line = torch.fft.fftfreq(grid.shape[0]).abs().to(image) * 2  # 0 at the center, 1 at the edge
        segment = (line * (self.segments + 1)).floor().long().clamp(0, self.segments)
        of_lines = torch.cat([rest, moved], 1)[:, segment]  # (B, lines, dims)
        phase = torch.zeros_like(image[:, :1])
        for axis, (count, size) in enumerate(zip(grid.shape, grid.spacing, strict=True)):
            frequency = torch.fft.fftfreq(count, d=size).to(image)
            if count % 2 == 0:
                frequency = frequency.where(torch.arange(count).to(image.device) != count // 2, 0)  # has no sign
            frequency = frequency.view([-1 if other == axis else 1 for other in range(dims)])
            lengths = of_lines[..., axis].view(len(values), 1, -1, *[1] * (dims - 1))
            phase = phase + lengths * frequency
        spectrum = torch.fft.fftn(image, dim=axes) * torch.exp(-2j * math.pi * phase)
        return torch.fft.ifftn(spectrum, dim=axes).real


@dataclass(frozen=True, kw_only=True)
class Ghosting(Shift):
    """Every few lines of k-space are weaker, as of pulsation or a breathing patient: ghosts along the first axis.

    Args:
        period: every how many lines.

    Example:
        >>> image = torch.zeros(1, 1, 64, 8)
        >>> image[..., 32, 4] = 1
        >>> ghosts = Ghosting(period=4)(image, [50.0])
        >>> (ghosts[0, 0, :, 4].abs() > 0.05).nonzero().flatten().tolist()
        [0, 16, 32, 48]
    """

    title: ClassVar[str] = "ghosting"
    source: ClassVar[str] = (
        "Level 5 is the lowest default intensity of TorchIO's RandomGhosting, .5; levels 1 to 4 are .1 to .4."
    )
    period: int = 4

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """By how much these lines are weaker."""
        return (Parameter("ghosting", "%", (10.0, 20.0, 30.0, 40.0, 50.0)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """But for the center's line, which keeps the mean."""
        count = grid.shape[0]
        line = torch.arange(count).to(image.device)
        weak = ((line % self.period == 0) & (line > 0)).to(image)
        weak = torch.maximum(weak, weak[(-line) % count])  # on both sides, or the image is not real
        weight = 1 - per_image(values[:, 0] / 100, image) * weak.view(-1, *[1] * (image.ndim - 3))
        return torch.fft.ifft(torch.fft.fft(image, dim=2) * weight, dim=2).real


@dataclass(frozen=True, kw_only=True)
class Gibbs(Shift):
    """Ringing of edges: k-space beyond a radius was not measured, in 2-D as in MONAI's GibbsNoise of this alpha.

    MONAI's has that radius in 3-D, too, where it cuts the corners of k-space at alpha 0; here 0 is all of it.

    Example:
        >>> Gibbs()(torch.rand(1, 1, 8, 8), [0.0]).shape
        torch.Size([1, 1, 8, 8])
    """

    title: ClassVar[str] = "Gibbs ringing"
    source: ClassVar[str] = (
        "Alpha of MONAI's GibbsNoise, which draws from 0 to 1: 0 is all, 1 nothing of k-space; .2 to .7, our choice."
    )

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Share of the radius of k-space that is missing."""
        return (Parameter("alpha", "", (0.2, 0.35, 0.5, 0.6, 0.7)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """What lies within the radius; at its edge a line of k-space comes and goes smoothly."""
        dims = len(grid.shape)
        axes = list(range(2, 2 + dims))
        ranges = [torch.fft.fftfreq(n, d=1 / n).to(image) for n in grid.shape]
        distance = torch.stack(torch.meshgrid(*ranges, indexing="ij"), 0).square().sum(0).sqrt()
        radius = per_image(1 - values[:, 0], image) * max(grid.shape) * math.sqrt(dims) / 2
        mask = (radius - distance + 0.5).clamp(0, 1)
        return torch.fft.ifftn(torch.fft.fftn(image, dim=axes) * mask, dim=axes).real


@dataclass(frozen=True, kw_only=True)
class Spike(Shift):
    """A spike in k-space: a wave over the whole image (herringbone).

    Args:
        place: of the spike, cycles over the first axes of the image; none along further ones.

    Example:
        >>> wave = Spike(span=(0.0, 1.0), place=(0, 4))(torch.zeros(1, 1, 8, 16), [10.0])
        >>> round(float(wave.max()), 3), round(float(wave.mean()), 3)
        (0.1, 0.0)
    """

    title: ClassVar[str] = "spike"
    source: ClassVar[str] = "Waves of 2 to 20 % of the range, our choice."
    place: tuple[int, int] = (7, 11)

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Size of the wave."""
        return (Parameter("spike", "% of the range", (2.0, 5.0, 10.0, 15.0, 20.0)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The image plus the wave."""
        low, high = self.low_high(image)
        first, second = (torch.arange(n).to(image) / n * k for n, k in zip(grid.shape, self.place, strict=False))
        wave = (2 * math.pi * (first[:, None] + second)).cos()
        wave = wave.view(*wave.shape, *[1] * (len(grid.shape) - 2))
        return image + per_image(values[:, 0] / 100, image) * (high - low) * wave


@dataclass(frozen=True, kw_only=True)
class Anisotropy(Shift):
    """Slices so many times as thick, on the same grid: the profile along the last axis is that of a thick slice.

    Example:
        >>> volume = torch.zeros(1, 1, 1, 1, 32)
        >>> volume[..., 16:] = 1
        >>> seen = Anisotropy()(volume, [4.0])[0, 0, 0, 0]
        >>> bool(0.02 < seen[14] < 0.3), bool(seen[12].abs() < 0.1)
        (True, True)
    """

    title: ClassVar[str] = "anisotropy"
    source: ClassVar[str] = (
        "Level 5 is the highest default of TorchIO's RandomAnisotropy, 5 times, level 1 its lowest, 1.5; levels 2 to 4 "
        "lie between."
    )
    dimensions: ClassVar[tuple[int, ...]] = (3,)

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """By how much a slice is thicker."""
        return (Parameter("slices", "times as thick", (1.5, 2.0, 3.0, 4.0, 5.0), neutral=1.0),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Along the last axis: the thick slice's mean, in place of that of the own slices."""
        own = grid.spacing[2]
        length = per_image(values[:, 0], image) * own
        return filtered(image, [2], lambda f: torch.sinc(length * f) / torch.sinc(own * f), grid)
