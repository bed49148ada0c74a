"""Shifts of photographs: endoscopes and fundus cameras; channels are colors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from monai_smia.degradations import Compress, Resample
from monai_smia.shifts.base import Parameter, Shift, per_image
from monai_smia.shifts.grid import Grid, filtered


@dataclass(frozen=True, kw_only=True)
class PictureShift(Shift):
    """A shift of pictures: 2-D."""

    dimensions: ClassVar[tuple[int, ...]] = (2,)

    def places(self, image: Tensor, grid: Grid) -> Tensor:
        """Of every pixel, -1 to 1 from side to side ``(H, W, 2)``."""
        axes = [torch.linspace(-1, 1, n).to(image) for n in grid.shape]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)

    def blobs(self, image: Tensor, grid: Grid, count: int, sizes: tuple[float, float]) -> Tensor:
        """Round soft blobs at drawn places ``(H, W)``, 0 to 1, of sizes in parts of the shorter side."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.rand(count, 3, generator=generator, dtype=torch.float64).to(image)
        side = min(grid.shape)
        index = torch.stack(torch.meshgrid(*[torch.arange(n).to(image) + 0.5 for n in grid.shape], indexing="ij"), -1)
        found = torch.zeros(grid.shape).to(image)
        for first, second, size in drawn:
            center = torch.stack([first, second]) * torch.tensor(grid.shape).to(image)
            radius = (sizes[0] + (sizes[1] - sizes[0]) * size) * side
            square = (index - center).square().sum(-1) / radius.square()
            found = torch.maximum(found, torch.exp(-square.square()))
        return found


@dataclass(frozen=True, kw_only=True)
class Illumination(PictureShift):
    """Uneven light: a vignette, and light from one side.

    Example:
        >>> dark = Illumination(span=(0.0, 1.0))(torch.ones(1, 3, 9, 9), [40.0, 0.0, 0.0])
        >>> [round(float(dark[0, 0, n, 4]), 2) for n in (0, 4)]
        [0.8, 1.0]
    """

    title: ClassVar[str] = "illumination"
    source: ClassVar[str] = "Corners darker by 10 to 50 %, one side by 5 to 25 %, our choice."

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Darkness of the corners, and the slope along both axes."""
        return (
            Parameter("vignette", "%", (10.0, 20.0, 30.0, 40.0, 50.0)),
            Parameter("side light", "%", (5.0, 10.0, 15.0, 20.0, 25.0), signed=True, count=2),
        )

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Light is a factor, from black on."""
        low, _ = self.low_high(image)
        place = self.places(image, grid)
        light = 1 - per_image(values[:, 0] / 100, image) * place.square().sum(-1) / 2
        for axis in range(2):
            light = light * (1 + per_image(values[:, 1 + axis] / 100, image) * place[..., axis])
        return low + (image - low) * light


@dataclass(frozen=True, kw_only=True)
class SpecularSpots(PictureShift):
    """Reflections of the lamp: white spots at drawn places.

    Args:
        count: of spots.
    """

    title: ClassVar[str] = "specular spots"
    source: ClassVar[str] = "20 to 100 % of white, our choice; spots of 1 to 4 % of the shorter side."
    count: int = 12

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """How near to white."""
        return (Parameter("spots", "%", (20.0, 40.0, 60.0, 80.0, 100.0)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Toward white."""
        _, high = self.low_high(image)
        share = per_image(values[:, 0] / 100, image) * self.blobs(image, grid, self.count, (0.01, 0.04))
        return image + share * (high - image)


@dataclass(frozen=True, kw_only=True)
class LensDirt(PictureShift):
    """Dirt and drops on the lens: out of focus, brown, at drawn places.

    Args:
        count: of drops.
    """

    title: ClassVar[str] = "lens dirt"
    source: ClassVar[str] = "Opacity of 15 to 75 %, our choice; drops of 4 to 14 % of the shorter side."
    count: int = 6

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """How much of the light a drop takes."""
        return (Parameter("dirt", "%", (15.0, 30.0, 45.0, 60.0, 75.0)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Toward dark brown (gray where there are no colors)."""
        low, high = self.low_high(image)
        tint = torch.tensor([0.35, 0.25, 0.15] if image.shape[1] == 3 else [0.25]).to(image).view(1, -1, 1, 1)
        share = per_image(values[:, 0] / 100, image) * self.blobs(image, grid, self.count, (0.04, 0.14))
        return image + share * (low + tint * (high - low) - image)


@dataclass(frozen=True, kw_only=True)
class Haze(PictureShift):
    """Smoke, vapor or a cataract: light scattered over the whole picture.

    Example:
        >>> Haze(span=(0.0, 1.0))(torch.zeros(1, 3, 4, 4), [50.0]).unique()
        tensor([0.4000])
    """

    title: ClassVar[str] = "haze"
    source: ClassVar[str] = "10 to 50 % of the light, our choice; scattered light is gray of 80 % of white."

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Share of scattered light."""
        return (Parameter("haze", "%", (10.0, 20.0, 30.0, 40.0, 50.0)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Toward gray."""
        low, high = self.low_high(image)
        return image + per_image(values[:, 0] / 100, image) * (low + 0.8 * (high - low) - image)


@dataclass(frozen=True, kw_only=True)
class ColorCast(PictureShift):
    """White balance: a gain for every color.

    Example:
        >>> ColorCast(span=(0.0, 1.0))(torch.ones(1, 3, 1, 1), [10.0, 0.0, -10.0]).flatten()
        tensor([1.1000, 1.0000, 0.9000])
    """

    title: ClassVar[str] = "color cast"
    source: ClassVar[str] = "Gains of 4 to 20 % for every color, our choice."

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """A gain for every color."""
        return (Parameter("color", "%", (4.0, 8.0, 12.0, 16.0, 20.0), signed=True, count=3),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """From black on.

        Raises:
            ValueError: if the picture has other than three channels.
        """
        if image.shape[1] != 3:
            raise ValueError(f"image must have three colors for {self.title}, got {image.shape[1]} channels.")
        low, _ = self.low_high(image)
        return image + (image - low) * (values / 100).view(len(values), 3, 1, 1)


@dataclass(frozen=True, kw_only=True)
class MotionBlur(PictureShift):
    """The camera moves while it exposes: a line of this length and direction.

    Example:
        >>> picture = torch.zeros(1, 1, 32, 32)
        >>> picture[..., 16, :] = 1
        >>> along = MotionBlur()(picture, [10.0, 90.0], spacing=(1, 1))
        >>> bool((along - picture).abs().max() < 1e-4)
        True
    """

    title: ClassVar[str] = "motion blur"
    source: ClassVar[str] = "1 to 5 % of the shorter side, as ImageNet-C's 10 to 20 of 224 pixels at its strongest."
    needs_spacing: ClassVar[bool] = True

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Length, and direction from the first axis."""
        return (
            Parameter("motion blur", "mm", (1.0, 2.0, 3.0, 4.0, 5.0)),
            Parameter("direction", "degrees", (90.0, 90.0, 90.0, 90.0, 90.0), signed=True),
        )

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The mean along the line; of the mirrored picture, so that its border is no edge."""
        length, angle = per_image(values[:, 0], image), per_image(torch.deg2rad(values[:, 1]), image)
        padded, width = _mirrored(image)
        shape = padded.shape[2:]
        first = torch.fft.fftfreq(shape[0], d=grid.spacing[0]).to(image)[:, None]
        second = torch.fft.rfftfreq(shape[1], d=grid.spacing[1]).to(image)
        line = torch.sinc(length * (first * angle.cos() + second * angle.sin()))
        blurred = torch.fft.irfft2(torch.fft.rfft2(padded) * line, s=list(shape))
        return blurred[..., width : width + image.shape[2], width : width + image.shape[3]]


def _mirrored(image: Tensor) -> tuple[Tensor, int]:
    """A picture with a mirrored border, and its width."""
    width = max(1, min(image.shape[2:]) // 4)
    return torch.nn.functional.pad(image, [width] * 4, mode="reflect"), width


@dataclass(frozen=True, kw_only=True)
class Defocus(PictureShift):
    """A camera out of focus: an aperture's disc, of this radius, as the mean of sharp rings.

    Example:
        >>> Defocus(lengths="%")(torch.rand(1, 3, 32, 32), [2.0]).shape
        torch.Size([1, 3, 32, 32])
    """

    title: ClassVar[str] = "defocus"
    source: ClassVar[str] = "Radii of .5 to 2.5 % of the shorter side; ImageNet-C's are 1.3 to 4.5 % (3 to 10 of 224)."
    needs_spacing: ClassVar[bool] = True

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Radius of the disc."""
        return (Parameter("defocus", "mm", (0.5, 1.0, 1.5, 2.0, 2.5)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """By the disc's transfer function, integrated over chords."""
        radius = per_image(values[:, 0], image)
        nodes = (torch.arange(32).to(image) + 0.5) * math.pi / 32

        def disc(first: Tensor, second: Tensor) -> Tensor:
            frequency = (first.square() + second.square() + 1e-24).sqrt()
            total = torch.zeros_like(radius * frequency)
            for node in nodes:  # 2 J1(z) / z, by its integral over the half circle
                total = total + (2 * math.pi * radius * frequency * node.cos()).cos() * node.sin().square()
            return total * 2 / len(nodes)

        return filtered(image, [0, 1], disc, grid)


@dataclass(frozen=True, kw_only=True)
class Jpeg(PictureShift):
    """JPEG compression; without a gradient in its quality. 0 is no compression, else the quality is 100 less this.

    Args:
        width_first: whether columns come before rows, as MONAI's LoadImage reads.
    """

    title: ClassVar[str] = "JPEG"
    source: ClassVar[str] = "Qualities 25, 18, 15, 10 and 7 of ImageNet-C (Hendrycks & Dietterich, ICLR 2019)."
    differentiable: ClassVar[bool] = False
    width_first: bool = False

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """100 less libjpeg's quality."""
        return (Parameter("compression", "of 100", (75.0, 82.0, 85.0, 90.0, 93.0)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Sample by sample."""
        low, high = self.low_high(image)
        found = []
        for number, less in enumerate(values.detach()[:, 0].tolist()):
            one = image[number : number + 1]
            if less <= 0:
                found.append(one)
                continue
            black, white = float(low[number]), float(high[number])
            found.append(
                Compress(
                    "jpeg", min(max(round(100 - less), 1), 95), low=black, high=white, width_first=self.width_first
                )(one)
            )
        return torch.cat(found)


@dataclass(frozen=True, kw_only=True)
class Downscale(PictureShift):
    """A picture scaled down and up again, linearly; without a gradient in its factor."""

    title: ClassVar[str] = "scaling"
    source: ClassVar[str] = "To .6, .5, .4, .3 and .25 of the size, as ImageNet-C's pixelation."
    differentiable: ClassVar[bool] = False

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """By how much a pixel grows."""
        return (Parameter("scaling", "times", (1.67, 2.0, 2.5, 3.33, 4.0), neutral=1.0),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Sample by sample."""
        found = [
            image[n : n + 1] if value <= 1 else Resample(value)(image[n : n + 1])
            for n, value in enumerate(values.detach()[:, 0].tolist())
        ]
        return torch.cat(found)
