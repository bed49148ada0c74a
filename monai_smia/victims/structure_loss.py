"""One structure of several as what an attack is after."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from monai_smia.victims.choice import GoalLoss
from monai_smia.victims.outputs import Output


@dataclass(frozen=True)
class StructureLoss(GoalLoss):
    """1 - soft Jaccard index of one structure, whatever becomes of the others.

    As a loss of an attack its `damage`, 1 - Jaccard index of the structure's decision, takes the place of the mean over
    all structures while the attack runs.

    Args:
        structure: number of the class (of the channel, where channels are independent).

    Raises:
        ValueError: in use, if the network has no such class, or it is the background.

    Example:
        >>> from monai_smia.attacks import APGD
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim, image = SegmentationVictim(torch.nn.Conv2d(1, 3, 3, padding=1)), torch.rand(1, 1, 16, 16)
        >>> label = victim.decide(victim.infer(image))
        >>> result = APGD(eps=0.3, steps=5, loss=StructureLoss(1))(SegmentationVictim(victim.network), image, label)
        >>> result.clean_damage.tolist()
        [0.0]
    """

    structure: int

    @property
    def __name__(self) -> str:
        """Name in tables and files."""
        return f"soft_jaccard_{self.structure}"

    def __call__(self, output: Output, prediction: Tensor, target: Tensor) -> Tensor:
        """Times the number of voxels, on the scale of the losses that are sums ``(B,)``."""
        place = self._place(output, prediction)
        probability = output.probabilities(prediction)[:, place].flatten(1)
        truth = output.one_hot(target, prediction.shape[1])[:, place].flatten(1)
        counted = output.counted(target)
        if counted is not None:
            own = counted[:, place] if counted.ndim == prediction.ndim else counted
            probability, truth = probability * own.flatten(1), truth & own.flatten(1)
        both = (probability * truth).sum(1)
        union = (probability + truth - probability * truth).sum(1)
        lost = 1 - both / union.clamp_min(1e-6)
        return truth.shape[1] * torch.where(truth.any(1), lost, probability.mean(1))

    @torch.no_grad()
    def damage(self, output: Output, prediction: Tensor, target: Tensor) -> Tensor:
        """1 - Jaccard index of the structure ``(B,)``; 0 where neither decision nor label hold it."""
        first = self._place(output, prediction) - output.exclusive
        return 1 - output.overlap(prediction, target).part(slice(first, first + 1)).jaccard()

    def _place(self, output: Output, prediction: Tensor) -> int:
        least, count = int(output.exclusive), prediction.shape[1]
        if not least <= self.structure < count:
            raise ValueError(f"structure must lie from {least} to {count - 1}, got {self.structure}.")
        return self.structure
