"""SegPGD."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from monai_smia.attacks.iterative import Iterate
from monai_smia.attacks.pgd import PGD
from monai_smia.victims import voxel_losses
from monai_smia.victims.base import Victim
from monai_smia.victims.segmentation import SegmentationVictim


class SegPGD(PGD):
    """SegPGD (Gu et al., ECCV 2022): PGD that turns from the voxels still right to those already wrong.

    Ascends ``(1 - w) * CE(right voxels) + w * CE(wrong voxels)`` with w = t / (2 T) at step t of T. A targeted attack
    gives the voxels that have not reached the target the larger weight.

    Args:
        **options: as for `PGD`. The loss is the cross entropy; `loss` only ranks iterates of equal damage.

    Raises:
        ValueError: if the victim is not a segmentation victim.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import SegPGD
        >>> _ = torch.manual_seed(0)
        >>> network = torch.nn.Conv2d(1, 2, 3, padding=1)
        >>> image, label = torch.rand(1, 1, 16, 16), torch.randint(0, 2, (1, 1, 16, 16))
        >>> result = SegPGD(eps=0.03, steps=5)(SegmentationVictim(network), image, label)
        >>> bool(result.loss[0] > result.loss_history[0, 0])
        True
    """

    def objective(self, victim: Victim, iterate: Iterate) -> Tensor:
        """The weighted cross entropy."""
        segmenter = segmentation_only(victim, self)
        loss = voxel_losses.voxel_cross_entropy(segmenter, iterate.prediction, iterate.label)
        right = voxel_losses.correct_voxels(segmenter, iterate.prediction, iterate.label)
        weight = iterate.step / (2 * self.steps)
        favoured = ~right if self.targeted else right
        total = (loss * (weight + (1 - 2 * weight) * favoured)).flatten(1).sum(1)
        return -total if self.targeted else total


def segmentation_only(victim: Victim, attack: Any) -> SegmentationVictim:
    """The victim, if it is one of segmentation.

    Raises:
        ValueError: if it is not.
    """
    if not isinstance(victim, SegmentationVictim):
        raise ValueError(
            f"victim must be a SegmentationVictim for {type(attack).__name__}, got {type(victim).__name__}."
        )
    return victim
