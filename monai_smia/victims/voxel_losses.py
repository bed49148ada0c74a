"""Deviation losses of segmentation attacks, all of them sums over voxels ``(B,)``.

Each takes a segmentation victim, its prediction ``(B, K, *spatial)`` and a label, and leaves ignored voxels out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from monai_smia.victims.segmentation import SegmentationVictim


def voxel_cross_entropy(victim: SegmentationVictim, prediction: Tensor, label: Tensor) -> Tensor:
    """Cross entropy voxel by voxel ``(B, *spatial)``, with independent channels ``(B, K, *spatial)``."""
    return victim.output.voxel_cross_entropy(prediction, victim.target(label), victim.ignore_index)


@torch.no_grad()
def correct_voxels(victim: SegmentationVictim, prediction: Tensor, label: Tensor) -> Tensor:
    """Where the decision is right and counts, bool, in the shape of `voxel_cross_entropy`."""
    target = victim.target(label)
    right = victim.output.decide(prediction) == target
    return right if victim.ignore_index is None else right & (target != victim.ignore_index)


def masked_cross_entropy(victim: SegmentationVictim, prediction: Tensor, label: Tensor) -> Tensor:
    """Cross entropy of the voxels that are still right: no effort is spent on those already lost.

    The first loss of the Segmentation Ensemble Attack (Croce et al., 2024).
    """
    return _sum(voxel_cross_entropy(victim, prediction, label) * correct_voxels(victim, prediction, label))


def balanced_cross_entropy(victim: SegmentationVictim, prediction: Tensor, label: Tensor) -> Tensor:
    """`masked_cross_entropy`, every class weighing the same however many voxels it has (the second loss of SEA)."""
    target = victim.target(label)
    weight = torch.zeros_like(target, dtype=prediction.dtype)
    for value in range(prediction.shape[1] if victim.activation == "softmax" else 2):
        held = target == value
        dims = tuple(range(1 if victim.activation == "softmax" else 2, held.ndim))  # channel by channel
        weight += held / held.sum(dims, keepdim=True).clamp_min(1)
    voxels = target[0].numel() / prediction.shape[1] if victim.activation == "softmax" else target[0, 0].numel() / 2
    right = correct_voxels(victim, prediction, label)
    return _sum(voxel_cross_entropy(victim, prediction, label) * right * weight * voxels)


def jensen_shannon(victim: SegmentationVictim, prediction: Tensor, label: Tensor) -> Tensor:
    """Jensen-Shannon divergence of the probabilities from the one-hot label (the third loss of SEA).

    Bounded by log 2 a voxel, so that its gradient fades where a voxel is lost for good. With a one-hot label it is a
    function of the true class's probability alone.
    """
    loss = voxel_cross_entropy(victim, prediction, label)
    p = torch.exp(-loss)
    log_mean = torch.log1p(p) - math.log(2)  # of the mixture at the true class
    return _sum(0.5 * ((1 - p) * math.log(2) - p * (loss + log_mean) - log_mean))


def margin(victim: SegmentationVictim, prediction: Tensor, label: Tensor) -> Tensor:
    """Highest wrong logit minus the true one, of the voxels that are still right (as in DAG): at most zero."""
    target = victim.target(label)
    right = correct_voxels(victim, prediction, label)
    held = target if victim.ignore_index is None else target.where(target != victim.ignore_index, 0)
    return _sum(victim.output.voxel_margin(prediction, held).clamp_max(0).where(right, 0))


def agreement(victim: SegmentationVictim, prediction: Tensor, label: Tensor) -> Tensor:
    """Cosine of the probabilities with the one-hot label, voxel by voxel, without gradient (for `CosPGD`)."""
    with torch.no_grad():
        probability = victim.output.probabilities(prediction)
        if victim.activation == "softmax":
            length = probability.square().sum(1).sqrt()
        else:
            length = (probability.square() + (1 - probability).square()).sqrt()
        return torch.exp(-voxel_cross_entropy(victim, prediction, label)) / length


def _sum(voxels: Tensor) -> Tensor:
    return voxels.flatten(1).sum(1)
