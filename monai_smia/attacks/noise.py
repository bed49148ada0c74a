"""The control of every robustness figure: a random perturbation of the same radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.iterative import IterativeAttack
from monai_smia.threat import draw, per_sample


@dataclass(kw_only=True, eq=False)
class Noise(IterativeAttack):
    """Random noise on the boundary of the ball, without any gradient: random signs times eps (L-inf), or a random
    direction of length eps (L2).

    Arguments are those of `Attack`; `steps` is 0.

    Example:
        >>> from monai_smia.victims import ClassificationVictim
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> result = Noise(eps=0.1)(ClassificationVictim(network), torch.full((1, 1, 8, 8), 0.5), torch.tensor([0]))
        >>> sorted(round(v, 4) for v in result.perturbation.unique().tolist()), result.gradients.tolist()
        ([-0.1, 0.1], [0])
    """

    needs_gradient: ClassVar[bool] = False
    steps: int = 0

    def __post_init__(self) -> None:
        if self.steps != 0:
            raise ValueError(f"steps must be 0 for Noise, which takes none, got {self.steps}.")
        self.require_fixed(random_start=False, restarts=1)  # the control is one draw, not the worst of many
        super().__post_init__()

    @property
    def knowledge(self) -> str:
        """None: noise is drawn."""
        return "none"

    def start(self, problem: AttackProblem) -> Tensor:
        """The image plus noise."""
        image, threat = problem.image, problem.threat
        noise = threat.steepest(draw(torch.randn, image, problem.generators))
        return threat.project(image + per_sample(threat.radius, image) * noise, image)
