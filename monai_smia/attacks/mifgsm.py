"""Momentum iterative FGSM."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from monai_smia.attacks.iterative import Iterate, IterativeAttack


class MIFGSM(IterativeAttack):
    """Momentum iterative FGSM (Dong et al., 2018): steps along an accumulated gradient.

    The momentum is ``m_t = decay * m_t-1 + g / mean(abs(g))``, the mean taken per sample.

    Args:
        decay: weight of the past, >= 0; 0 is `BIM`.
        **options: as for `IterativeAttack` and `Attack`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import MIFGSM
        >>> from monai_smia.victims import ClassificationVictim
        >>> _ = torch.manual_seed(0)
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> image, label = torch.rand(2, 1, 8, 8), torch.tensor([0, 2])
        >>> result = MIFGSM(eps=0.1, steps=4, decay=0.9)(ClassificationVictim(network), image, label)
        >>> result.gradients.tolist()
        [4, 4]
    """

    def __init__(self, *, decay: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= decay < float("inf"):
            raise ValueError(f"decay must be a finite number >= 0, got {decay}.")
        self.decay = decay

    def ascent(self, gradient: Tensor, iterate: Iterate) -> Tensor:
        """The accumulated gradient."""
        momentum = over_mean(gradient)
        if "momentum" in iterate.memory:
            momentum = momentum + self.decay * iterate.memory["momentum"]
        iterate.memory["momentum"] = momentum
        return momentum


def over_mean(gradient: Tensor) -> Tensor:
    """Every sample's gradient over its mean magnitude; one that is zero stays."""
    scale = gradient.flatten(1).abs().mean(1).view(-1, *[1] * (gradient.ndim - 1))
    return gradient / scale.where(scale > 0, 1)
