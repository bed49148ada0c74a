"""Losses and divergences of logits that the output layer itself defines, one value per sample ``(B,)``.

Losses take an output layer, logits ``(B, K, ...)`` and a target as the layer takes it; divergences take the logits of
a reference prediction in the target's place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from monai_smia.victims.outputs import Output
from monai_smia.victims.slabs import by_slabs


@by_slabs
def cross_entropy(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    """Cross entropy, summed over voxels ``(B,)``."""
    return output.cross_entropy(prediction, target)


def margin(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
    """Highest wrong logit minus the true one ``(B,)``; with several labels or grades: largest one on the wrong side.

    For classifiers. It is positive where the decision is wrong. Ignored labels are left out.
    """
    margins = output.voxel_margin(prediction, target)
    counted = output.counted(target)
    if counted is not None:
        margins = margins.masked_fill(~counted, -torch.inf)
    return margins.amax(1) if margins.ndim > 1 else margins


def soft_cross_entropy(output: Output, prediction: Tensor, reference: Tensor) -> Tensor:
    """Cross entropy with the reference's probabilities as target (Eq. 3) ``(B,)``."""
    return output.soft_cross_entropy(prediction, reference)


def kl(output: Output, prediction: Tensor, reference: Tensor) -> Tensor:
    """KL(prediction || reference), Eq. 5 ``(B,)``."""
    return output.kl(prediction, reference)


def reverse_kl(output: Output, prediction: Tensor, reference: Tensor) -> Tensor:
    """KL(reference || prediction) ``(B,)``."""
    return output.reverse_kl(prediction, reference)
