"""SegPGD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from monai_smia.attacks.voxel_weighted import VoxelWeightedPGD
from monai_smia.victims import voxel_losses


@dataclass(kw_only=True, eq=False)
class SegPGD(VoxelWeightedPGD):
    """SegPGD (Gu et al., ECCV 2022): PGD that turns from the voxels still right to those already wrong.

    Ascends ``(1 - w) * CE(right voxels) + w * CE(wrong voxels)`` with w = t / (2 T) at step t of T. A targeted attack
    descends, and gives the voxels that have not reached the target the larger weight. Arguments: `VoxelWeightedPGD`.

    Example:
        >>> import torch
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim, image = SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1)), torch.rand(1, 1, 16, 16)
        >>> result = SegPGD(eps=0.03, steps=5)(victim, image, (image > 0.5).long())
        >>> bool(result.loss[0] > result.loss_history[0, 0])
        True
    """

    def weights(self, output: Any, prediction: Tensor, target: Tensor, step: int) -> Tensor:
        """1 - w where right, w where wrong."""
        right = voxel_losses.correct_voxels(output, prediction, target)
        weight = step / (2 * self.steps)
        favored = ~right if self.targeted else right
        weights = weight + (1 - 2 * weight) * favored
        return -weights if self.targeted else weights
