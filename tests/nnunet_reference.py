"""nnU-Net's chain once more, by plain autograd: dense matrices probed out of nnU-Net's own functions, and a loop."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from skimage.transform import resize
from torch import Tensor, nn


def reference(victim: Any, members: Sequence[nn.Module], image: Tensor, spacing: Sequence[float]) -> Tensor:
    """Logits ``(K, z, y, x)`` of an image ``(C, z, y, x)`` in float64, with the graph of everything."""
    from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero

    predictor = victim.deployed.predictor
    plans, configuration = predictor.plans_manager, predictor.configuration_manager
    order = [axis + 1 for axis in plans.transpose_forward]
    x = image.permute(0, *order)
    _, seg, bbox = crop_to_nonzero(x.detach().numpy())
    full, mask = x.shape[1:], torch.from_numpy(seg[0] >= 0)
    x = x[(slice(None), *(slice(a, b) for a, b in bbox))]
    before = [spacing[axis] for axis in plans.transpose_forward]
    target = configuration.spacing
    target = [before[0], *target] if len(target) == 2 else target
    channels = []
    for c, scheme in enumerate(configuration.normalization_schemes):
        print_ = plans.foreground_intensity_properties_per_channel[str(c)]
        channels.append(_normalized(x[c], scheme, configuration.use_mask_for_norm[c], mask, print_))
    x = torch.stack(channels)
    cropped = x.shape[1:]
    x = _resampled(x, [round(a / b * n) for a, b, n in zip(before, target, cropped, strict=True)], before, target)
    logits = _tiled(predictor, members, x)
    logits = _by_dense(logits, configuration.resampling_fn_probabilities, cropped, target, before)
    outside = torch.full((len(logits), *full), -20.0, dtype=x.dtype)
    if victim.deployed.labels.exclusive:
        outside[0] = 20.0
    inside = torch.zeros(full, dtype=torch.bool)
    inside[tuple(slice(a, b) for a, b in bbox)] = True
    logits = torch.stack([o.masked_scatter(inside, part) for o, part in zip(outside, logits, strict=True)])
    return logits.permute(0, *(axis + 1 for axis in plans.transpose_backward))


def _normalized(x: Tensor, scheme: str, masked: bool, mask: Tensor, print_: dict[str, float]) -> Tensor:
    if scheme == "CTNormalization":
        low, high = print_["percentile_00_5"], print_["percentile_99_5"]
        return (torch.minimum(torch.maximum(x, torch.tensor(low)), torch.tensor(high)) - print_["mean"]) / print_["std"]
    if scheme == "ZScoreNormalization":
        inside = x[mask] if masked else x.flatten()
        scored = (x - inside.mean()) / inside.std(unbiased=False)
        return torch.where(mask, scored, x) if masked else scored
    if scheme == "RescaleTo01Normalization":
        return (x - x.min()) / (x.max() - x.min())
    return x / 255 if scheme == "RGBTo01Normalization" else x


def _resampled(x: Tensor, shape: Sequence[int], before: Sequence[float], target: Sequence[float]) -> Tensor:
    """Order 3, clipped as scikit-image clips; slices by themselves and the nearest one where voxels are anisotropic."""
    if list(x.shape[1:]) == list(shape):
        return x
    sizes = before if max(before) / min(before) > 3 else target
    if max(sizes) / min(sizes) <= 3:
        return torch.stack([_plain_resize(channel, shape) for channel in x])
    (axis,) = (a for a in range(3) if sizes[a] == max(sizes))
    plane = [shape[a] for a in range(3) if a != axis]
    slices = [torch.stack([_plain_resize(s, plane) for s in channel.unbind(axis)], axis) for channel in x]
    number = x.shape[axis + 1]
    places = (np.arange(shape[axis]) + 0.5) * number / shape[axis] - 0.5
    nearest = np.clip(np.floor(places + 0.5), 0, number - 1).astype(int)
    return torch.stack(slices).index_select(axis + 1, torch.from_numpy(nearest))


def _plain_resize(x: Tensor, shape: Sequence[int]) -> Tensor:
    units = np.eye(x.numel()).reshape(x.numel(), *x.shape)
    rows = [resize(unit, shape, 3, mode="edge", anti_aliasing=False, clip=False).ravel() for unit in units]
    y = (torch.from_numpy(np.stack(rows, 1)) @ x.flatten()).reshape(tuple(shape))
    return torch.minimum(torch.maximum(y, x.min()), x.max())


def _by_dense(x: Tensor, function: Any, shape: Sequence[int], current: Sequence[float], new: Sequence[float]) -> Tensor:
    """A linear function of nnU-Net's as one matrix: that of every unit image is a column."""
    units = np.eye(x[0].numel()).reshape(x[0].numel(), *x.shape[1:])
    columns = np.asarray(function(units, shape, current, new)).reshape(len(units), -1)
    return (x.flatten(1) @ torch.from_numpy(columns)).reshape(len(x), *shape)


def _tiled(predictor: Any, members: Sequence[nn.Module], x: Tensor) -> Tensor:
    from acvl_utils.cropping_and_padding.padding import pad_nd_image
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    patch = tuple(predictor.configuration_manager.patch_size)
    x, kept = pad_nd_image(x, patch, "constant", {"value": 0}, True, None)
    weight = compute_gaussian(patch, 1 / 8, 10, device=torch.device("cpu")).double()
    axes = predictor.allowed_mirroring_axes or ()
    flips = [f for n in range(len(axes) + 1) for f in itertools.combinations([a + 2 for a in axes], n)]
    total, count = 0.0, torch.zeros(x.shape[1:], dtype=x.dtype)
    for place in predictor._internal_get_sliding_window_slicers(x.shape[1:]):
        tile = x[place][None]
        outputs = [torch.flip(member(torch.flip(tile, f)), f) for member in members for f in flips]
        mean = torch.stack(outputs).mean(0)[0] * weight
        canvas = torch.zeros(len(mean), *x.shape[1:], dtype=x.dtype)
        canvas[place] = mean
        total = total + canvas
        count[place[1:]] += weight
    return (total / count)[(slice(None), *kept[1:])]
