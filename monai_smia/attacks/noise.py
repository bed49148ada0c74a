"""The control of every robustness figure: a random perturbation of the same radius."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from monai_smia.attacks.iterative import IterativeAttack
from monai_smia.threat import ThreatModel, draw, per_sample


class Noise(IterativeAttack):
    """Random noise on the boundary of the ball, without any gradient: random signs times eps (L-inf), or a random
    direction of length eps (L2).

    Args:
        **options: as for `Attack`.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import Noise
        >>> from monai_smia.victims import ClassificationVictim
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> image, label = torch.full((1, 1, 8, 8), 0.5), torch.tensor([0])
        >>> result = Noise(eps=0.1)(ClassificationVictim(network), image, label)
        >>> sorted(round(v, 4) for v in result.perturbation.unique().tolist()), result.gradients.tolist()
        ([-0.1, 0.1], [0])
    """

    def __init__(self, **options: Any) -> None:
        if options.pop("steps", 0) != 0:
            raise ValueError("steps must be 0 for Noise, which takes none.")
        super().__init__(steps=0, **options)

    def start(self, image: Tensor, threat: ThreatModel, generators: Sequence[torch.Generator]) -> Tensor:
        """The image plus noise."""
        assert threat.eps is not None
        noise = draw(torch.randn, image, generators)
        return threat.project(image + per_sample(threat.eps, image) * threat.steepest(noise), image)
