"""Rounding and lossy compression."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from monai_smia.degradations.base import Degradation, straight_through


@dataclass(frozen=True)
class Quantize(Degradation):
    """Rounding to whole steps, as storage does; the gradient passes straight through.

    Args:
        step: size of a step in the image's unit, > 0 (1 HU, or 1/255 for 8 bits of [0, 1]).

    Example:
        >>> Quantize(0.5)(torch.tensor([[[0.2, 0.6, 1.1]]]))
        tensor([[[0.0000, 0.5000, 1.0000]]])
    """

    step: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.step < float("inf"):
            raise ValueError(f"step must be a finite number > 0, got {self.step}.")

    def __call__(self, image: Tensor) -> Tensor:
        return straight_through(image, (image.detach() / self.step).round() * self.step)


@dataclass(frozen=True)
class Compress(Degradation):
    """Lossy compression of a photograph, or of every axial slice (last axis) of a volume.

    The gradient passes straight through.

    Args:
        codec: ``"jpeg"`` (8 bits) or ``"jpeg2000"`` (to 16 bits, channel by channel).
        quality: that of libjpeg, 1 to 95, for ``"jpeg"``; the compression ratio for ``"jpeg2000"``.
        low: value that is stored as 0.
        high: value that is stored as `levels`; 255 with ``"jpeg"``.
        levels: whole steps from low to high; 4095 for a CT from -1024 to 3071 HU.
        width_first: axes are those of MONAI's LoadImage, columns before rows, and slices stand upright when they are
            compressed; False for ``(C, H, W)`` as of `monai_smia.transforms.LoadPhotograph`. A codec that meets a
            picture on its side compresses another one.

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
    width_first: bool = True

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
        """As for every degradation.

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
        return straight_through(image, torch.from_numpy(back).reshape(image.shape) / scale + self.low)

    def _slice(self, channels: np.ndarray) -> np.ndarray:
        """One slice ``(C, *axes)`` written and read back, upright."""
        if self.width_first:
            channels = channels.swapaxes(1, 2)
        read = self._through_codec(np.ascontiguousarray(channels))
        return read.swapaxes(1, 2) if self.width_first else read

    def _through_codec(self, channels: np.ndarray) -> np.ndarray:
        """A slice ``(C, H, W)`` written and read back."""
        if self.codec == "jpeg2000":  # Pillow has no color picture of 16 bits
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
