"""CosPGD."""

from __future__ import annotations

from torch import Tensor

from monai_smia.attacks.iterative import Iterate
from monai_smia.attacks.pgd import PGD
from monai_smia.attacks.segpgd import segmentation_only
from monai_smia.victims import voxel_losses
from monai_smia.victims.base import Victim


class CosPGD(PGD):
    """CosPGD (Agnihotri et al., ICML 2024): PGD whose voxels count by how well they agree with the label.

    Ascends ``sum_i cos(p_i, y_i) * CE_i`` with the cosine of probabilities and one-hot label held constant; a targeted
    attack descends ``sum_i (1 - cos(p_i, y_i)) * CE_i``.

    Args:
        **options: as for `PGD`. The loss is the cross entropy; `loss` only ranks iterates of equal damage.

    Raises:
        ValueError: if the victim is not a segmentation victim.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import CosPGD
        >>> from monai_smia.victims import SegmentationVictim
        >>> _ = torch.manual_seed(0)
        >>> network = torch.nn.Conv2d(1, 2, 3, padding=1)
        >>> image, label = torch.rand(1, 1, 16, 16), torch.randint(0, 2, (1, 1, 16, 16))
        >>> result = CosPGD(eps=0.03, steps=5)(SegmentationVictim(network), image, label)
        >>> bool(result.loss[0] > result.loss_history[0, 0])
        True
    """

    def objective(self, victim: Victim, iterate: Iterate) -> Tensor:
        """The weighted cross entropy."""
        segmenter = segmentation_only(victim, self)
        loss = voxel_losses.voxel_cross_entropy(segmenter, iterate.prediction, iterate.label)
        cosine = voxel_losses.agreement(segmenter, iterate.prediction, iterate.label)
        weight = cosine - 1 if self.targeted else cosine
        return (loss * weight).flatten(1).sum(1)
