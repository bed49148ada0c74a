"""Transforms that normalize an image by its own statistics: with them held, or with the gradient through them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms import NormalizeIntensity, ScaleIntensity, ScaleIntensityRangePercentiles
from monai.utils import get_equivalent_dtype
from torch import Tensor

DIFFERENTIATE, FREEZE = "differentiate", "freeze"
STATISTICS = (DIFFERENTIATE, FREEZE)
Pair = tuple[Tensor, Tensor]


def check_statistics(value: Any) -> None:
    """Raise a ValueError where an argument is neither ``"differentiate"`` nor ``"freeze"``."""
    if value not in STATISTICS:
        raise ValueError(f"statistics must be one of {STATISTICS}, got {value!r}.")


@dataclass(frozen=True)
class FixedNormalize:
    """NormalizeIntensity with known statistics, out of place as autograd needs it."""

    subtrahend: Tensor
    divisor: Tensor
    nonzero: bool
    dtype: torch.dtype | None

    def __call__(self, image: Tensor) -> Tensor:
        """The image, normalized."""
        value = image if image.dtype == torch.float64 else image.float()
        scaled = (value - self.subtrahend) / self.divisor
        return (torch.where(value != 0, scaled, value) if self.nonzero else scaled).to(self.dtype or image.dtype)


@dataclass(frozen=True)
class FixedWindow:
    """ScaleIntensity or ScaleIntensityRangePercentiles with known ends, one pair or one per channel.

    Args:
        low, high: what becomes `b_min` and `b_max`: numbers, or one per channel ``(C, 1, ...)``.
        b_min, b_max: of the result; 0 and 1 where one of them is None.
        clip: whether the result is clipped to them.
        dtype: of the result; None for the image's.
        straight_through: let the gradient through where it is clipped.

    Example:
        >>> FixedWindow(torch.tensor(0.0), torch.tensor(4.0), 0.0, 2.0, True, None)(torch.tensor([1.0, 8.0])).tolist()
        [0.5, 2.0]
    """

    low: Tensor
    high: Tensor
    b_min: float | None
    b_max: float | None
    clip: bool
    dtype: torch.dtype | None
    straight_through: bool = False

    @property
    def slope(self) -> Tensor:
        """Network units per unit of the image; 1 where the ends are one, as MONAI has it."""
        width = self.high - self.low
        wide = 1.0 if self.b_min is None or self.b_max is None else self.b_max - self.b_min
        return torch.where(width != 0, wide / width.where(width != 0, 1.0), 1.0)

    def __call__(self, image: Tensor) -> Tensor:
        """The image, scaled."""
        value = image if image.dtype == torch.float64 else image.float()
        scaled = (value - self.low) * self.slope
        if self.b_min is not None and self.b_max is not None:
            scaled = scaled + self.b_min
        if self.clip and (self.b_min is not None or self.b_max is not None):
            clipped = scaled.clamp(self.b_min, self.b_max)
            scaled = scaled + (clipped - scaled).detach() if self.straight_through else clipped
        return scaled.to(self.dtype or image.dtype)


@dataclass(frozen=True)
class OwnStatistics:
    """A transform of MONAI that goes by the image's own statistics, with the gradient through them.

    An attacker who changes an image changes its mean, its deviation and its percentiles as well.

    Args:
        array: a NormalizeIntensity, ScaleIntensity or ScaleIntensityRangePercentiles.
        straight_through: let the gradient through where it clips.

    Example:
        >>> image = torch.tensor([[1.0, 2.0, 6.0]], requires_grad=True)
        >>> (gradient,) = torch.autograd.grad(OwnStatistics(NormalizeIntensity())(image).sum(), image)
        >>> bool(gradient.abs().max() < 1e-6)  # the sum of z-scores is 0, whatever the image
        True
    """

    array: Any
    straight_through: bool = False

    def __call__(self, image: Tensor) -> Tensor:
        """The image by its own statistics."""
        return fixed_on(self.array, image, straight_through=self.straight_through)(image)


def fixed_on(array: Any, image: Tensor, *, straight_through: bool = False) -> Callable[[Tensor], Tensor]:
    """A transform with the statistics of an image ``(C, *spatial)``, differentiable in them."""
    plain = image.as_tensor() if hasattr(image, "as_tensor") else image
    value = plain if plain.dtype == torch.float64 else plain.float()
    dtype = get_equivalent_dtype(array.dtype, torch.Tensor) if array.dtype else None
    if isinstance(array, NormalizeIntensity):
        return FixedNormalize(*_mean_and_deviation(array, value), array.nonzero, dtype)
    if isinstance(array, ScaleIntensity):
        ends, bounds, clip = (_extrema(array, value), (array.minv, array.maxv), False)
    else:
        assert isinstance(array, ScaleIntensityRangePercentiles)
        ends, bounds, clip = (_percentiles(array, value), _bounds(array), array.clip)
    return FixedWindow(*ends, *bounds, clip, dtype, straight_through)


def follows_the_image(array: Any) -> bool:
    """Whether a transform takes a statistic from the image."""
    if isinstance(array, NormalizeIntensity):
        return array.subtrahend is None or array.divisor is None
    if isinstance(array, ScaleIntensity):
        return array.minv is not None or array.maxv is not None
    return isinstance(array, ScaleIntensityRangePercentiles)


def percentile_of(values: Tensor, share: float) -> Tensor:
    """A percentile of all values, differentiable: two of them, interpolated as `numpy.percentile` does.

    Of values that are equal, as those of whole numbers are, each has an even share of the gradient.

    Args:
        values: of any shape.
        share: from 0 to 100.

    Example:
        >>> values = torch.tensor([4.0, 1.0, 3.0, 2.0], requires_grad=True)
        >>> found = percentile_of(values, 50)
        >>> found.item(), torch.autograd.grad(found, values)[0].tolist()
        (2.5, [0.0, 0.0, 0.5, 0.5])
    """
    flat = values.flatten()
    place = share / 100 * (len(flat) - 1)
    below = min(int(place), len(flat) - 1)
    above = min(below + 1, len(flat) - 1)
    low, high = (_ranked(flat, rank) for rank in (below, above))
    return low + (high - low) * (place - below)


def _ranked(flat: Tensor, rank: int) -> Tensor:
    """The value of a rank from 0 on."""
    known = flat.detach()
    value = known.kthvalue(rank + 1).values
    return value + (flat[known == value] - value).mean()


def _mean_and_deviation(array: NormalizeIntensity, value: Tensor) -> Pair:
    channels = list(value) if array.channel_wise else [value]
    voxels = [channel[channel != 0] if array.nonzero else channel for channel in channels]
    means, deviations = [], []
    for found in voxels:
        mean = found.mean() if found.numel() else value.new_zeros(())
        variance = (found - mean).square().mean() if found.numel() else value.new_ones(())
        means.append(mean)
        deviations.append(variance.where(variance > 0, 1.0).sqrt())

    def shaped(given: Any, found: list[Tensor]) -> Tensor:
        own = torch.stack(found) if array.channel_wise else found[0]
        taken = own if given is None else torch.as_tensor(np.asarray(given)).to(value)
        return taken.view(-1, *[1] * (value.ndim - 1)) if taken.ndim == 1 else taken

    divisor = shaped(array.divisor, deviations)
    return shaped(array.subtrahend, means), divisor.where(divisor != 0, 1.0)


def _extrema(array: ScaleIntensity, value: Tensor) -> Pair:
    if not array.channel_wise:
        return value.amin(), value.amax()
    axes = tuple(range(1, value.ndim))
    return value.amin(axes, keepdim=True), value.amax(axes, keepdim=True)


def _percentiles(array: ScaleIntensityRangePercentiles, value: Tensor) -> Pair:
    if not array.channel_wise:
        return percentile_of(value, array.lower), percentile_of(value, array.upper)
    ends = [[percentile_of(channel, share) for channel in value] for share in (array.lower, array.upper)]
    low, high = (torch.stack(end).view(-1, *[1] * (value.ndim - 1)) for end in ends)
    return low, high


def _bounds(array: ScaleIntensityRangePercentiles) -> tuple[float | None, float | None]:
    b_min, b_max = array.b_min, array.b_max
    if not array.relative or b_min is None or b_max is None:
        return b_min, b_max
    low, high = (b_min + (b_max - b_min) * share / 100.0 for share in (array.lower, array.upper))
    return low, high
