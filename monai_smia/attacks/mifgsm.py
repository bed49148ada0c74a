"""Momentum iterative FGSM."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.iterative import IterativeAttack, State
from monai_smia.attacks.measures import over_mean


@dataclass
class MomentumState(State):
    """The accumulated gradient ``(B, C, *spatial)``."""

    momentum: Tensor


@dataclass(kw_only=True, eq=False)
class MIFGSM(IterativeAttack):
    """Momentum iterative FGSM (Dong et al., CVPR 2018): steps along a decaying sum of normalized gradients.

    The momentum is ``m_t = decay * m_t-1 + g / mean(abs(g))``, the mean taken per sample.

    Args:
        decay: weight of the past, >= 0; 0 is `BIM`.

    The other arguments are those of `IterativeAttack` and `Attack`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> from monai_smia.victims import ClassificationVictim
        >>> victim = ClassificationVictim(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)))
        >>> MIFGSM(eps=0.1, steps=4, decay=0.9)(victim, torch.rand(1, 1, 8, 8), torch.tensor([2])).gradients.tolist()
        [4]
    """

    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.decay < float("inf"):
            raise ValueError(f"decay must be a finite number >= 0, got {self.decay}.")

    def initial_state(self, problem: AttackProblem) -> MomentumState:
        """No momentum."""
        return MomentumState(torch.zeros_like(problem.image))

    def direction(self, gradient: Tensor, state: MomentumState) -> Tensor:
        """The accumulated gradient."""
        state.momentum = over_mean(gradient) + self.decay * state.momentum
        return state.momentum
