"""Transforms that decide from the image, with the decision taken once."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    CropForeground,
    MapTransform,
    NormalizeIntensity,
    ScaleIntensity,
    ScaleIntensityRange,
    ScaleIntensityRangePercentiles,
)
from monai.transforms.utils_pytorch_numpy_unification import percentile
from monai.utils import get_equivalent_dtype
from torch import Tensor

FROZEN = (CropForeground, NormalizeIntensity, ScaleIntensity, ScaleIntensityRangePercentiles)


@dataclass(frozen=True)
class FixedNormalize:
    """NormalizeIntensity with known statistics, out of place as autograd needs it."""

    subtrahend: Tensor
    divisor: Tensor
    nonzero: bool
    dtype: torch.dtype | None

    def __call__(self, image: Tensor) -> Tensor:
        """The image, normalized."""
        value = image.float()
        scaled = (value - self.subtrahend) / self.divisor
        return (torch.where(value != 0, scaled, value) if self.nonzero else scaled).to(self.dtype or image.dtype)


class StraightThroughScale(ScaleIntensityRange):
    """ScaleIntensityRange with clip, through which the gradient passes as if it did not clip; values are its own."""

    def __init__(self, scale: ScaleIntensityRange) -> None:
        super().__init__(scale.a_min, scale.a_max, scale.b_min, scale.b_max, clip=False, dtype=scale.dtype)

    def __call__(self, img: Any) -> Any:
        """The window of the image, clipped."""
        scaled = super().__call__(img)
        plain = scaled.as_tensor() if isinstance(scaled, MetaTensor) else scaled
        clipped = _Clamp.apply(plain, self.b_min, self.b_max)
        return MetaTensor(clipped, meta=scaled.meta) if isinstance(scaled, MetaTensor) else clipped


class _Clamp(torch.autograd.Function):
    """Clamp forward, identity backward."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, low: float | None, high: float | None) -> Tensor:
        return value.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient, None, None


def array_attribute(transform: Callable) -> str | None:
    """Where a dictionary transform holds its array transform, if that is one of those known here."""
    names = ("cropper", "normalizer", "scaler") if isinstance(transform, MapTransform) else ()
    return next((name for name in names if hasattr(transform, name)), None)


def freeze_on(array: Callable, image: MetaTensor) -> Callable:
    """A transform that decides what `array` decides on this image, whatever it is given."""
    if isinstance(array, CropForeground):
        box = array.compute_bounding_box(image)
        if any(end <= start for start, end in zip(*box, strict=True)):
            raise ValueError("preprocessing: CropForeground finds no foreground: nothing would be left of the image.")
        frozen: Any = copy.copy(array)  # still a lazy transform, where the chain is lazy
        frozen.compute_bounding_box = functools.partial(_same, box)
        return frozen
    plain = image.as_tensor()
    if isinstance(array, NormalizeIntensity):
        return _freeze_normalize(array, plain)
    if getattr(array, "channel_wise", False):
        raise ValueError(f"preprocessing: {type(array).__name__} with channel_wise=True cannot be frozen.")
    if isinstance(array, ScaleIntensity):
        if array.minv is None and array.maxv is None:
            return array  # multiplies by 1 + factor, whatever the image
        low, high = float(plain.min()), float(plain.max())
        return ScaleIntensityRange(low, high, array.minv, array.maxv, dtype=array.dtype)
    assert isinstance(array, ScaleIntensityRangePercentiles)
    low, high = float(percentile(plain, array.lower)), float(percentile(plain, array.upper))
    b_min, b_max = array.b_min, array.b_max
    if array.relative and b_min is not None and b_max is not None:
        b_min, b_max = (b_min + (b_max - b_min) * q / 100.0 for q in (array.lower, array.upper))
    return ScaleIntensityRange(low, high, b_min, b_max, clip=array.clip, dtype=array.dtype)


def _same(box: Any, img: Any) -> Any:
    return box


def _freeze_normalize(array: NormalizeIntensity, image: Tensor) -> FixedNormalize:
    channels = list(image) if array.channel_wise else [image]
    voxels = [channel[channel != 0] if array.nonzero else channel for channel in channels]
    means = [float(v.float().mean()) if v.numel() else 0.0 for v in voxels]
    deviations = [float(v.float().std(unbiased=False)) if v.numel() else 1.0 for v in voxels]

    def shaped(given: Any, found: list[float]) -> Tensor:
        value = torch.as_tensor(np.asarray(found if given is None else given), dtype=torch.float32, device=image.device)
        return value.view(-1, *[1] * (image.ndim - 1)) if value.ndim == 1 else value

    divisor = shaped(array.divisor, deviations)
    return FixedNormalize(
        subtrahend=shaped(array.subtrahend, means),
        divisor=divisor.where(divisor != 0, 1.0),
        nonzero=array.nonzero,
        dtype=get_equivalent_dtype(array.dtype, torch.Tensor) if array.dtype else None,
    )
