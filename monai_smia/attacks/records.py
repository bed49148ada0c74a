"""What is recorded of every iterate and every step, in few passes over the voxels."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_smia.threat import TINY


def sizes(adversarial: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Largest absolute perturbation, and the perturbation's population variance over voxels, each ``(B,)``."""
    perturbation = (adversarial - image).flatten(1)
    largest = torch.maximum(perturbation.amax(1), -perturbation.amin(1))
    centred = perturbation.sub_(perturbation.mean(1, keepdim=True))
    return largest, torch.linalg.vecdot(centred, centred) / centred.shape[1]


def cosine(step: Tensor, previous: Tensor) -> Tensor:
    """Cosine between two steps ``(B,)``; 0 where one of them is zero."""
    one, other = step.flatten(1), previous.flatten(1)
    lengths = torch.linalg.vecdot(one, one).sqrt() * torch.linalg.vecdot(other, other).sqrt()
    return torch.linalg.vecdot(one, other) / lengths.clamp_min(TINY)


def stands_still(step: Tensor) -> Tensor:
    """Whether a step, or a gradient, is zero everywhere ``(B,)``."""
    flat = step.flatten(1)
    return (flat.amax(1) == 0) & (flat.amin(1) == 0)
