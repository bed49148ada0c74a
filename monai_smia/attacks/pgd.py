"""Projected gradient descent."""

from __future__ import annotations

from typing import Any

from monai_smia.attacks.iterative import IterativeAttack


class PGD(IterativeAttack):
    """Projected gradient descent (Madry et al., 2018): signed or L2 ascent from a random point of the ball.

    Args:
        random_start: False starts at the image, which makes it `BIM`.
        **options: as for `IterativeAttack` and `Attack`.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import PGD
        >>> from monai_smia.victims import ClassificationVictim
        >>> _ = torch.manual_seed(0)
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> image, label = torch.rand(2, 1, 8, 8), torch.tensor([0, 2])
        >>> attack = PGD(eps=1.0, norm="l2", steps=4, restarts=2, seed=1)
        >>> result = attack(ClassificationVictim(network), image, label)
        >>> result.perturbation.flatten(1).norm(dim=1).max().item() <= 1.0 + 1e-6, result.gradients.tolist()
        (True, [8, 8])
    """

    def __init__(self, *, random_start: bool = True, **options: Any) -> None:
        super().__init__(random_start=random_start, **options)
