"""What happens to an image between the attacker and the network: smoothing, resampling, filters, compression.

Every handling maps a batch ``(B, C, *spatial)`` to one of the same shape, 2-D or 3-D, in the image's own unit. The
gradient goes through: exactly where the handling is smooth, straight through (as if nothing had happened) where it
leaves PyTorch or rounds.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from monai_smia.smoothing import gaussian_taps, smooth

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class Handling(ABC):
    """A deterministic change of an image."""

    @abstractmethod
    def __call__(self, image: Tensor) -> Tensor:
        """The image after it, of the same shape.

        Args:
            image: ``(B, C, *spatial)``.
        """


@dataclass(frozen=True)
class Untouched(Handling):
    """Nothing happens.

    Example:
        >>> image = torch.rand(1, 1, 4, 4)
        >>> Untouched()(image) is image
        True
    """

    def __call__(self, image: Tensor) -> Tensor:
        return image


@dataclass(frozen=True)
class Smooth(Handling):
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
class Box(Handling):
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
class Resample(Handling):
    """Linear interpolation to a coarser (or finer) grid and back.

    Args:
        factor: how much longer a voxel of the other grid is, > 0.

    Example:
        >>> Resample(2.0)(torch.eye(4).view(1, 1, 4, 4))[0, 0].sum().round(decimals=3)
        tensor(4.)
    """

    factor: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.factor < float("inf"):
            raise ValueError(f"factor must be a finite number > 0, got {self.factor}.")

    def __call__(self, image: Tensor) -> Tensor:
        shape = image.shape[2:]
        mode = LINEAR[len(shape)]
        other = [max(round(n / self.factor), 1) for n in shape]
        return F.interpolate(F.interpolate(image, other, mode=mode), shape, mode=mode)


@dataclass(frozen=True)
class Median(Handling):
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
        window = (1, 1, *[self.size] * (image.ndim - 2))
        filtered = ndimage.median_filter(image.detach().cpu().numpy(), size=window, mode="nearest")
        return _straight_through(image, torch.from_numpy(filtered))


@dataclass(frozen=True)
class AddNoise(Handling):
    """Gaussian noise, the same in every call and for every sample.

    Args:
        sigma: standard deviation in the image's unit, >= 0.
        seed: seed of the draw.

    Example:
        >>> image = torch.zeros(2, 1, 8, 8)
        >>> noisy = AddNoise(0.1)(image)
        >>> bool((noisy[0] == noisy[1]).all()), bool((noisy == AddNoise(0.1)(image)).all())
        (True, True)
    """

    sigma: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < float("inf"):
            raise ValueError(f"sigma must be a finite number >= 0, got {self.sigma}.")

    def __call__(self, image: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return image + self.sigma * torch.randn(image.shape[1:], generator=generator).to(image)


@dataclass(frozen=True)
class Quantise(Handling):
    """Rounding to whole steps, as storage does; the gradient passes straight through.

    Args:
        step: size of a step in the image's unit, > 0 (1 HU, or 1/255 for 8 bits of [0, 1]).

    Example:
        >>> Quantise(0.5)(torch.tensor([[[0.2, 0.6, 1.1]]]))
        tensor([[[0.0000, 0.5000, 1.0000]]])
    """

    step: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.step < float("inf"):
            raise ValueError(f"step must be a finite number > 0, got {self.step}.")

    def __call__(self, image: Tensor) -> Tensor:
        return _straight_through(image, (image.detach() / self.step).round() * self.step)


@dataclass(frozen=True)
class Compress(Handling):
    """Lossy compression of every axial slice (last axis of a volume) or of a photograph; the gradient passes straight
    through.

    Args:
        codec: ``"jpeg"`` (8 bits) or ``"jpeg2000"`` (to 16 bits, channel by channel).
        quality: that of libjpeg, 1 to 95, for ``"jpeg"``; the compression ratio for ``"jpeg2000"``.
        low: value that is stored as 0.
        high: value that is stored as `levels`; 255 with ``"jpeg"``.
        levels: whole steps from low to high; 4095 for a CT from -1024 to 3071 HU.

    Example:
        >>> image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> compressed = Compress("jpeg", quality=90)(image)
        >>> compressed.shape, 0 < float((compressed - image).abs().mean()) < 0.2
        (torch.Size([1, 3, 16, 16]), True)
    """

    codec: str = "jpeg"
    quality: float = 75
    low: float = 0.0
    high: float = 1.0
    levels: int = 255

    def __post_init__(self) -> None:
        if self.codec not in ("jpeg", "jpeg2000"):
            raise ValueError(f"codec must be 'jpeg' or 'jpeg2000', got {self.codec!r}.")
        if not (self.quality >= 1 and (self.codec == "jpeg2000" or self.quality <= 95)):
            raise ValueError(f"quality must be >= 1, and <= 95 for jpeg, got {self.quality}.")
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}.")
        most = 255 if self.codec == "jpeg" else 65535
        if not 1 <= self.levels <= most:
            raise ValueError(f"levels must lie in [1, {most}] for {self.codec}, got {self.levels}.")

    def __call__(self, image: Tensor) -> Tensor:
        """As for every handling.

        Raises:
            ValueError: if the image has neither one nor three channels.
        """
        if image.shape[1] not in (1, 3):
            raise ValueError(f"image must have one or three channels to be compressed, got {image.shape[1]}.")
        scale = self.levels / (self.high - self.low)
        stored = ((image.detach().double().cpu() - self.low) * scale).round().clamp(0, self.levels).numpy()
        slices = stored[..., None] if image.ndim == 4 else stored  # (B, C, H, W, slices)
        back = np.empty_like(slices)
        for sample, z in np.ndindex(len(slices), slices.shape[-1]):
            back[sample, ..., z] = self._slice(slices[sample, ..., z])
        return _straight_through(image, torch.from_numpy(back).reshape(image.shape) / scale + self.low)

    def _slice(self, channels: np.ndarray) -> np.ndarray:
        """One slice ``(C, H, W)`` written and read back."""
        if self.codec == "jpeg2000":  # Pillow has no colour picture of 16 bits
            options = {"quality_mode": "rates", "quality_layers": [self.quality], "irreversible": True}
            return np.stack([_through_file(channel.astype(np.uint16), "JPEG2000", options) for channel in channels])
        picture = channels.astype(np.uint8)
        quality = {"quality": int(self.quality)}
        if len(picture) == 1:
            return _through_file(picture[0], "JPEG", quality)[None]
        return np.moveaxis(_through_file(np.moveaxis(picture, 0, -1), "JPEG", quality), -1, 0)


def _through_file(pixels: np.ndarray, kind: str, options: dict[str, Any]) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return np.asarray(Image.open(buffer))


def _along_axes(image: Tensor, taps: Sequence[float]) -> Tensor:
    """Filtered along every spatial axis with a symmetric kernel, from its centre outwards; the border repeated."""
    border = (len(taps) - 1,) * (2 * (image.ndim - 2))
    smoothed = smooth(F.pad(image, border, mode="replicate"), taps)
    return F.pad(smoothed, [-width for width in border])


def _straight_through(image: Tensor, handled: Tensor) -> Tensor:
    """The value of one, the gradient of the other."""
    return image + (handled.to(image) - image).detach()


def _check_odd(size: int) -> None:
    if size < 1 or size % 2 != 1:
        raise ValueError(f"size must be an odd number >= 1, got {size}.")
