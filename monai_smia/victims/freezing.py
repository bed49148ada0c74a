"""Transforms that decide from the image, with the decision taken once."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

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
from torch import Tensor

from monai_smia.victims.own_statistics import fixed_on, follows_the_image

FROZEN = (CropForeground, NormalizeIntensity, ScaleIntensity, ScaleIntensityRangePercentiles)


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


def array_of(transform: Callable) -> Any:
    """The array transform of a dictionary transform that is known here; any other as it is."""
    attribute = array_attribute(transform)
    return getattr(transform, attribute) if attribute else transform


def is_of_statistics(transform: Callable) -> bool:
    """Whether a transform, of arrays or dictionaries, normalizes by statistics of the image that it is given."""
    return follows_the_image(array_of(transform))


def freeze_on(array: Any, image: MetaTensor, *, straight_through: bool = False) -> Callable:
    """A transform that decides what `array` decides on this image, whatever it is given.

    Args:
        array: one of `FROZEN`.
        image: the clean image at its place in the chain.
        straight_through: let the gradient through where percentiles of single channels clip.
    """
    if isinstance(array, CropForeground):
        box = array.compute_bounding_box(image)
        if any(end <= start for start, end in zip(*box, strict=True)):
            raise ValueError("preprocessing: CropForeground finds no foreground: nothing would be left of the image.")
        frozen: Any = copy.copy(array)  # still a lazy transform, where the chain is lazy
        frozen.compute_bounding_box = functools.partial(_same, box)
        return frozen
    plain = image.as_tensor()
    if isinstance(array, ScaleIntensity) and not follows_the_image(array):
        return array  # multiplies by 1 + factor, whatever the image
    if isinstance(array, NormalizeIntensity) or array.channel_wise:
        return fixed_on(array, plain, straight_through=straight_through)
    if isinstance(array, ScaleIntensity):
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
