"""By how much transforms stretch intensities: known of MONAI's own, measured on the image of others."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, ScaleIntensity, ScaleIntensityRange
from torch import Tensor

from monai_smia.victims.freezing import FROZEN, array_attribute
from monai_smia.victims.own_statistics import FixedNormalize, FixedWindow
from monai_smia.victims.placement import CONVERTERS, SPATIAL, is_one_of

VALUES = 33  # that a probed voxel takes, over the image's range
ONE_SLOPE = 1e-3  # by how much the slopes inside of a window may differ
MANY = 2**17  # voxels of an image in which many can be probed at once


def known_scales(transform: Callable, channels: int) -> Tensor | None:
    """By how much a frozen transform stretches the intensities of every channel; None where that is not known.

    A transform may say it of itself, by an attribute ``intensity_slope``: a number, or one per channel.

    Args:
        transform: any.
        channels: of the image.
    """
    attribute = array_attribute(transform)
    array = getattr(transform, attribute) if attribute else transform
    found: Any
    if isinstance(array, ScaleIntensityRange):
        wide = 1.0 if array.b_min is None or array.b_max is None else array.b_max - array.b_min
        found = wide / (array.a_max - array.a_min)
    elif isinstance(array, FixedNormalize):
        found = 1.0 / array.divisor
    elif isinstance(array, FixedWindow):
        found = array.slope
    elif type(array) is ScaleIntensity and array.minv is None and array.maxv is None:
        found = 1.0 + (array.factor or 0.0)
    elif is_one_of(transform, (*SPATIAL, *CONVERTERS)):
        found = 1.0
    else:
        found = getattr(transform, "intensity_slope", None)
    if found is None:
        return None
    slopes = torch.as_tensor(found, dtype=torch.double).detach().cpu()
    if slopes.ndim > 1 and slopes.numel() != len(slopes):  # a divisor of its own for every voxel
        return None
    return slopes.flatten().expand(channels)


def known_scale(transform: Callable) -> float | None:
    """By how much a frozen transform stretches intensities inside of its window; None where that is not known.

    Raises:
        ValueError: if it differs between channels.
    """
    attribute = array_attribute(transform)
    array = getattr(transform, attribute) if attribute else transform
    slopes = None
    if isinstance(array, (FixedNormalize, FixedWindow)):
        slopes = (1.0 / array.divisor if isinstance(array, FixedNormalize) else array.slope).unique()
        if len(slopes) > 1:
            name = "NormalizeIntensity" if isinstance(array, FixedNormalize) else "the preprocessing's window"
            divisors = [1 / slope for slope in slopes.tolist()]
            raise ValueError(f"preprocessing: {name} scales channels differently, by {divisors}.")
    found = known_scales(transform, 1)
    return None if found is None else float(found[0])


def fixed_intensity_scale(compose: Any) -> float:
    """Network units per unit of the image, for a chain that does not take its scale from the image.

    Raises:
        ValueError: if it does, or a transform is not known; it is named.
    """
    transforms = (compose if isinstance(compose, Compose) else Compose(compose)).flatten().transforms
    scales = []
    for transform in transforms:
        attribute = array_attribute(transform)
        array = getattr(transform, attribute) if attribute else transform
        scale = known_scale(transform)
        if scale is None and isinstance(array, FROZEN):
            raise ValueError(f"image must be given: {type(transform).__name__} takes its scale from the image.")
        if scale is None:
            raise ValueError(
                f"image must be given: how {type(transform).__name__} scales intensities is not known, and measured on "
                "an image."
            )
        scales.append(scale)
    return functools.reduce(float.__mul__, scales, 1.0)


def measured_scale(transform: Callable, before: Tensor, apply: Callable[[Tensor], Tensor]) -> float:
    """The one slope by which a transform stretches intensities, inside of the window that it may cut.

    Voxels are set to values over the image's range, one by one (in large images at once), and what becomes of them is
    compared. Where a window clips, the slope is 0, and not looked at.

    Args:
        transform: any.
        before: what it is given ``(C, *spatial)``.
        apply: the transform of such an image alone.

    Raises:
        ValueError: if there is no one slope: the transform is named, with the slopes found.
    """
    name, before = type(transform).__name__, before.clone()
    clean = apply(before.clone())
    if clean.shape != before.shape:
        raise ValueError(f"preprocessing: how {name} scales intensities cannot be measured, it changes the grid.")
    low, high = float(before.min()), float(before.max())
    values = torch.linspace(low, high if high > low else low + 1, VALUES, dtype=torch.double)
    slopes: list[float] = []
    step = math.inf
    for channel in range(len(before)):
        for voxels in _probed(before.shape[1:]):
            found, width = _inner(functools.partial(_outputs, name, before, clean, apply, channel, voxels), values)
            slopes, step = slopes + found, min(step, width)
    if not slopes:
        raise ValueError(
            f"preprocessing: {name} does not answer to changes of the image; its scale cannot be measured."
        )
    least, most = min(slopes), max(slopes)
    # what an output is off by rounding, an interval's slope is off twice over
    rounding = 4 * torch.finfo(torch.float32).eps * float(_plain(clean).abs().max()) / step
    if most - least > ONE_SLOPE * max(abs(least), abs(most)) + rounding:
        raise ValueError(
            f"preprocessing: {name} must scale intensities by one slope to have a radius converted, got slopes from "
            f"{least:.4g} to {most:.4g}; attack on the image's own grid and in its unit instead."
        )
    return math.fsum(slopes) / len(slopes)


def _probed(shape: Sequence[int]) -> list[Tensor]:
    """Voxels ``(VALUES,)`` by number for each of three series: one voxel again and again, or in a large image many."""
    count = int(torch.tensor(shape).prod())
    if count < MANY:
        return [torch.tensor([int(count * share)] * VALUES) for share in (0.23, 0.5, 0.81)]
    return [(torch.arange(VALUES) * (count // VALUES) + count // share) % count for share in (97, 53, 29)]


def _outputs(
    name: str,
    before: Tensor,
    clean: Tensor,
    apply: Callable[[Tensor], Tensor],
    channel: int,
    voxels: Tensor,
    values: Tensor,
) -> Tensor:
    """What becomes of the values, each at its voxel ``(VALUES,)``."""
    if len(voxels.unique()) > 1:
        batches = [torch.arange(VALUES)]
    else:
        batches = list(torch.arange(VALUES).split(1))
    outputs = torch.zeros_like(values)
    for batch in batches:
        changed = before.clone()
        _plain(changed)[channel].view(-1)[voxels[batch]] = values[batch].to(before.dtype)
        after = _plain(apply(changed))
        outputs[batch] = after[channel].reshape(-1)[voxels[batch]].double().cpu()
        others = (after - _plain(clean)).abs()
        others[channel].view(-1)[voxels[batch]] = 0
        answer = (after - _plain(clean)).abs().amax()
        if float(others.amax()) > 0.02 * float(answer):
            raise ValueError(
                f"preprocessing: {name} mixes voxels, so that its scale cannot be measured; attack on the image's own "
                "grid and in its unit instead."
            )
    return outputs


def _inner(outputs: Callable[[Tensor], Tensor], values: Tensor, closer: int = 2) -> tuple[list[float], float]:
    """The slopes inside of a window, and the width of the intervals that they are of.

    A window clips at the ends of the range; an interval that its edge cuts is left out. Where it is narrower than the
    intervals, it is looked at more closely: what answers in a single one even then is a step, with no slope of its own.
    """
    slopes, width = outputs(values).diff() / values.diff(), float(values[1] - values[0])
    answers = slopes.nonzero().flatten().tolist()
    if not answers:
        return [], width
    first, last = answers[0], answers[-1]
    inner = slopes[first + 1 : last].tolist()
    if inner:
        return inner, width
    if not closer:
        return [0.0, *slopes[first : last + 1].tolist()], width
    return _inner(outputs, torch.linspace(values[first], values[last + 1], len(values)).to(values), closer - 1)


def _plain(image: Tensor) -> Tensor:
    return image.as_tensor() if isinstance(image, MetaTensor) else image
