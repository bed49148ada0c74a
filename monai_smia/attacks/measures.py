"""Measures of iterates and steps, in few passes over the voxels."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_smia.threat import TINY


def perturbation_stats(adversarial: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Largest absolute perturbation, and the perturbation's population variance over voxels, each ``(B,)``."""
    perturbation = (adversarial - image).flatten(1)
    largest = torch.maximum(perturbation.amax(1), -perturbation.amin(1))
    centered = perturbation.sub_(perturbation.mean(1, keepdim=True))
    return largest, torch.linalg.vecdot(centered, centered) / centered.shape[1]


def cosine(step: Tensor, previous: Tensor) -> Tensor:
    """Cosine between two steps ``(B,)``; 0 where one of them is zero."""
    one, other = step.flatten(1), previous.flatten(1)
    lengths = torch.linalg.vecdot(one, one).sqrt() * torch.linalg.vecdot(other, other).sqrt()
    return torch.linalg.vecdot(one, other) / lengths.clamp_min(TINY)


def is_zero(step: Tensor) -> Tensor:
    """Whether a step, or a gradient, is zero everywhere ``(B,)``."""
    flat = step.flatten(1)
    return (flat.amax(1) == 0) & (flat.amin(1) == 0)


def over_mean(gradient: Tensor) -> Tensor:
    """Every sample's gradient over its mean magnitude; one that is zero stays."""
    scale = gradient.flatten(1).abs().mean(1).view(-1, *[1] * (gradient.ndim - 1))
    return gradient / scale.where(scale > 0, 1)


def where(condition: Tensor, ours: Tensor, theirs: Tensor) -> Tensor:
    """Per sample one of two batches, ``condition`` being ``(B,)``."""
    return torch.where(condition.view(-1, *[1] * (ours.ndim - 1)), ours, theirs)
