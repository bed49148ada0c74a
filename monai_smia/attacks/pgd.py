"""Projected gradient descent."""

from __future__ import annotations

from dataclasses import dataclass

from monai_smia.attacks.iterative import IterativeAttack


@dataclass(kw_only=True, eq=False)
class PGD(IterativeAttack):
    """Projected gradient descent (Madry et al., 2018): signed or L2 ascent from a random point of the ball.

    Args:
        random_start: False starts at the image, which makes it `BIM`.

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
