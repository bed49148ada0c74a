"""Projected gradient descent."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor
from typing_extensions import Self

from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.iterative import IterativeAttack


@dataclass(kw_only=True, eq=False)
class PGD(IterativeAttack):
    """Projected gradient descent (Madry et al., 2018): signed or L2 ascent from a random point of the ball.

    Args:
        random_start: False starts at the image, which makes it `BIM`.
        start_eps: radius of the ball that the start is drawn from, at most `eps`; None for `eps`. Where the ball is
            only what the steps add up to, as in the SMIA paper, the start is not to be most of the perturbation.

    Raises:
        ValueError: if an argument is outside its range.

    The other arguments are those of `IterativeAttack` and `Attack`.

    Example:
        >>> import torch
        >>> from monai_smia.victims import ClassificationVictim
        >>> victim = ClassificationVictim(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)))
        >>> attack = PGD(eps=1.0, norm="l2", steps=4, restarts=2, seed=1)
        >>> result = attack(victim, torch.rand(2, 1, 8, 8), torch.tensor([0, 2]))
        >>> result.perturbation.flatten(1).norm(dim=1).max().item() <= 1.0 + 1e-6, result.gradients.tolist()
        (True, [8, 8])
    """

    random_start: bool = True
    start_eps: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start_eps is not None and not 0 <= self.start_eps <= (self.eps or 0):
            raise ValueError(f"start_eps must be a number from 0 to eps={self.eps}, or None, got {self.start_eps}.")

    def start(self, problem: AttackProblem) -> Tensor:
        """A random point of the ball, or of a smaller one."""
        if self.start_eps is None or not self.random_start or problem.start is not None:
            return super().start(problem)
        return replace(problem.threat, eps=self.start_eps).random_start(problem.image, problem.generators)

    def scaled(self, factor: float) -> Self:
        """This attack with its step size and the ball of its start times factor."""
        smaller = super().scaled(factor)
        return smaller if self.start_eps is None else replace(smaller, start_eps=self.start_eps * factor)
