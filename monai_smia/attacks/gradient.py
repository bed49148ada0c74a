"""The gradient of an objective with respect to the image, checked."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from monai_smia.attacks.measures import is_zero


def gradient_of(objective: Tensor, adversarial: Tensor, *, retain_graph: bool = False) -> Tensor:
    """The gradient of a scalar with respect to the image.

    Args:
        objective: the scalar.
        adversarial: the image that it is differentiated by.
        retain_graph: keep the graph for another gradient.

    Raises:
        ValueError: if it does not depend on the image, or its gradient is NaN or infinite.
    """
    message = "the prediction does not depend on the image: its gradient is undefined (a constant network?)."
    if not objective.requires_grad:
        raise ValueError(message)
    (gradient,) = torch.autograd.grad(objective, adversarial, allow_unused=True, retain_graph=retain_graph)
    if gradient is None:
        raise ValueError(message)
    if not math.isfinite(gradient.sum()):  # its sign would be taken for that of a voxel without a gradient
        bad = (~gradient.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
        raise ValueError(f"the gradient with respect to the image is NaN or infinite for samples {bad}.")
    return gradient.contiguous()  # a network may hand it over with its channels last in memory


def warn_if_zero(gradient: Tensor) -> None:
    """Warn of samples that the attack cannot move."""
    zero = is_zero(gradient).nonzero().flatten().tolist()
    if zero:
        warnings.warn(
            f"the gradient of the deviation loss is exactly zero for samples {zero} (saturated or constant network?): "
            "the attack cannot move them, which says nothing about robustness.",
            RuntimeWarning,
            stacklevel=2,
        )
