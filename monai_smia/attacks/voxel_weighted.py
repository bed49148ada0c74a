"""PGD on a segmentation whose voxels weigh differently from step to step."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from monai_smia.attacks.iterative import Iterate
from monai_smia.attacks.pgd import PGD
from monai_smia.victims import SegmentationVictim, Victim, voxel_losses
from monai_smia.victims.slabs import in_full


@dataclass(kw_only=True, eq=False)
class VoxelWeightedPGD(PGD):
    """Ascends a sum over voxels of weight times cross entropy; a subclass says the weights.

    Arguments are those of `PGD`; `step_size` is a third of the radius by default, about that of the papers. The loss is
    the cross entropy; `loss` only ranks iterates of equal damage.

    Raises:
        ValueError: if the victim is not a segmentation victim.
    """

    def default_step_size(self, eps: float | Tensor) -> float | Tensor:
        """A third of the radius."""
        return eps / 3

    def objective(self, victim: Victim, iterate: Iterate) -> Tensor:
        """The weighted cross entropy ``(B,)``."""
        segmenter = self.require_victim(victim, SegmentationVictim)
        output, target = segmenter.output, segmenter.target(iterate.label)
        prediction = in_full(iterate.prediction)
        loss = voxel_losses.voxel_cross_entropy(output, prediction, target)
        return (loss * self.weights(output, prediction, target, iterate.step)).flatten(1).sum(1)

    @abstractmethod
    def weights(self, output: Any, prediction: Tensor, target: Tensor, step: int) -> Tensor:
        """Weight of every voxel, negative where its cross entropy is to fall.

        Args:
            output: the victim's output layer.
            prediction: logits ``(B, K, *spatial)``.
            target: the label as the output layer takes it.
            step: number of the step.
        """
