"""CosPGD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from monai_smia.attacks.voxel_weighted import VoxelWeightedPGD
from monai_smia.victims import voxel_losses


@dataclass(kw_only=True, eq=False)
class CosPGD(VoxelWeightedPGD):
    """CosPGD (Agnihotri et al., ICML 2024): PGD whose voxels count by how well they agree with the label.

    Ascends ``sum_i cos(p_i, y_i) * CE_i`` with the cosine of probabilities and one-hot label held constant; a targeted
    attack descends ``sum_i (1 - cos(p_i, y_i)) * CE_i``. Arguments: `VoxelWeightedPGD`.

    Example:
        >>> import torch
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim, image = SegmentationVictim(torch.nn.Conv3d(1, 2, 3, padding=1)), torch.rand(1, 1, 8, 8, 8)
        >>> result = CosPGD(eps=0.03, steps=5)(victim, image, (image > 0.5).long())
        >>> bool(result.loss[0] > result.loss_history[0, 0])
        True
    """

    def weights(self, output: Any, prediction: Tensor, target: Tensor, step: int) -> Tensor:
        """The cosine; targeted, the cosine minus 1."""
        cosine = voxel_losses.agreement(output, prediction, target)
        return cosine - 1 if self.targeted else cosine
