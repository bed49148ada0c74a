"""Deviation losses of segmentation attacks, all of them sums over voxels ``(B,)``.

Each takes an output layer, logits ``(B, K, *spatial)`` and a target as the layer takes it (`SegmentationVictim.output`
and `SegmentationVictim.target`), and leaves ignored voxels out. Of a large prediction it is summed, and differentiated,
slab by slab (`voxel_sums`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from monai_smia.victims.outputs import Output
from monai_smia.victims.slabs import by_slabs, in_slabs, voxel_sums

SHARPNESS = 40.0  # mean margin of the sharpened logits, chosen on networks that no table reports


def voxel_cross_entropy(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    """Cross entropy voxel by voxel ``(B, *spatial)``, with independent channels ``(B, K, *spatial)``."""
    return output.voxel_cross_entropy(prediction, target)


@torch.no_grad()
def correct_voxels(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    """Where the decision is right and counts, bool, in the shape of `voxel_cross_entropy`."""
    right = output.decide(prediction) == target
    counted = output.counted(target)
    return right if counted is None else right & counted


@in_slabs
def soft_jaccard(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    """1 - soft Jaccard index of probabilities, mean over the foreground classes that the label holds ``(B,)``.

    Times the number of voxels that count, on the scale of the other losses and of the divergence, which are sums. Where
    the label holds none it is the mean probability of the foreground classes, which grows as something is invented.
    """
    return _jaccard(output, voxel_sums(_jaccard_sums, output, prediction, target))


def _jaccard_sums(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    """What `soft_jaccard` sums over voxels, class by class ``(B, 5, K)``.

    Intersection, union, probability, truth, and the number of voxels that count.
    """
    probability = output.probabilities(prediction)
    truth = output.one_hot(target, prediction.shape[1])
    counted = output.counted(target)
    voxels = torch.full_like(probability.flatten(2)[..., 0], prediction[0, 0].numel())
    if counted is not None:
        counted = counted.view(len(target), -1, *target.shape[-(prediction.ndim - 2) :])
        probability, truth = probability * counted, truth & counted
        voxels = (counted.flatten(1).sum(1).to(prediction.dtype) / counted.shape[1]).unsqueeze(1).expand_as(voxels)
    both = probability * truth
    volumes = (both, probability + truth - both, probability)
    sums = [volume.flatten(2).sum(2) for volume in volumes]
    return torch.stack([*sums, truth.flatten(2).sum(2).to(voxels), voxels], 1)


def _jaccard(output: Output, sums: Tensor) -> Tensor:
    """`soft_jaccard` of what `_jaccard_sums` sums ``(B,)``."""
    intersection, union, probability, truth, voxels = sums.unbind(1)
    score = intersection / union.clamp_min(1e-6)
    held = output.foreground(truth > 0)
    overlap = (output.foreground(score) * held).sum(1) / held.sum(1).clamp_min(1)
    if bool(held.any(1).all()):
        return voxels[:, 0] * (1 - overlap)
    invented = output.foreground(probability).mean(1)
    return torch.where(held.any(1), voxels[:, 0] * (1 - overlap), invented)


@in_slabs
def sharp_jaccard(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    """`soft_jaccard` of probabilities that are close to the decision: 0 or 1 but where a voxel is about to turn.

    The logits are divided by their mean margin and multiplied by `SHARPNESS`, so that it is the same however a network
    scales them. Where `soft_jaccard` moves all voxels a little, this one moves those that can be won: it is for the end
    of an attack that has found its place.
    """
    with torch.no_grad():
        count = prediction[0].numel() // (prediction.shape[1] if output.exclusive else 1)
        margin = voxel_sums(_decided_margin, output, prediction.detach(), target) / count
        factor = (SHARPNESS / margin.clamp_min(1e-12)).to(margin.dtype)
    return _jaccard(output, voxel_sums(_scaled_jaccard_sums, output, prediction, target, factor))


def _decided_margin(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    return _sum(output.voxel_margin(prediction, output.decide(prediction)).abs())


def _scaled_jaccard_sums(output: Output, prediction: Tensor, target: Tensor, factor: Tensor) -> Tensor:
    return _jaccard_sums(output, prediction * factor.view(-1, *[1] * (prediction.ndim - 1)), target)


@by_slabs
def masked_cross_entropy(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of the voxels that are still right: no effort is spent on those already lost.

    The first loss of the Segmentation Ensemble Attack (Croce et al., 2024).
    """
    return _sum(voxel_cross_entropy(output, prediction, target) * correct_voxels(output, prediction, target))


@in_slabs
def balanced_cross_entropy(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    """`masked_cross_entropy`, every class weighing the same however many voxels it has (the second loss of SEA)."""
    loss, voxels = voxel_sums(_class_sums, output, prediction, target).unbind(1)
    share = voxels.sum(2, keepdim=True) / voxels.shape[2] / voxels.clamp_min(1)
    return (loss * share).flatten(1).sum(1).to(torch.promote_types(prediction.dtype, torch.float32))


def _class_sums(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of the voxels that are still right, and all voxels that count, class by class.

    Returns:
        ``(B, 2, C, V)``, float64: one channel of K values where classes are exclusive, K channels of two elsewhere.
    """
    channels, values = (1, prediction.shape[1]) if output.exclusive else (prediction.shape[1], 2)
    loss = voxel_cross_entropy(output, prediction, target) * correct_voxels(output, prediction, target)
    counted = output.counted(target)
    counted = torch.ones_like(target, dtype=torch.bool) if counted is None else counted
    place = target.where(counted, 0).long().view(len(target), channels, -1)  # ignored voxels add nothing anywhere
    parts = [part.double().view(place.shape) for part in (loss, counted)]
    return torch.stack([part.new_zeros(*place.shape[:2], values).scatter_add(2, place, part) for part in parts], 1)


@by_slabs
def jensen_shannon(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    """Jensen-Shannon divergence of the probabilities from the one-hot label (the third loss of SEA).

    Bounded by log 2 a voxel, so that its gradient fades where a voxel is lost for good. With a one-hot label it is a
    function of the true class's probability alone.
    """
    loss = voxel_cross_entropy(output, prediction, target)
    p = torch.exp(-loss)
    log_mean = torch.log1p(p) - math.log(2)  # of the mixture at the true class
    return _sum(0.5 * ((1 - p) * math.log(2) - p * (loss + log_mean) - log_mean))


@by_slabs
def margin(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    """Highest wrong logit minus the true one, of the voxels that are still right (as in DAG): at most zero."""
    right = correct_voxels(output, prediction, target)
    counted = output.counted(target)
    held = target if counted is None else target.where(counted, 0)
    return _sum(output.voxel_margin(prediction, held).clamp_max(0).where(right, 0))


@torch.no_grad()
def agreement(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    """Cosine of the probabilities with the one-hot label, voxel by voxel, without gradient (for `CosPGD`)."""
    probability = output.probabilities(prediction)
    if output.exclusive:
        length = probability.square().sum(1).sqrt()
    else:
        length = (probability.square() + (1 - probability).square()).sqrt()
    return torch.exp(-voxel_cross_entropy(output, prediction, target)) / length


def _sum(voxels: Tensor) -> Tensor:
    return voxels.flatten(1).sum(1)
