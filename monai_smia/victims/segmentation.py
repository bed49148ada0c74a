"""Segmentation networks, 2-D and 3-D."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from monai_smia.victims import logit_losses, voxel_losses
from monai_smia.victims.choice import GoalLoss
from monai_smia.victims.gate import check_label_map
from monai_smia.victims.logits import LogitsVictim
from monai_smia.victims.slabs import in_full
from monai_smia.victims.volume_loss import VolumeLoss


@dataclass(kw_only=True, eq=False)
class SegmentationVictim(LogitsVictim):
    """A segmentation network with its inferer and preprocessing.

    Args:
        network: maps ``(B, C, *spatial)`` to raw logits ``(B, K, *spatial)``.
        inferer: a MONAI Inferer; the gradient goes through it. A plain SlidingWindowInferer is made memory-flat.
        preprocessing: MONAI transforms between the case's image and the network, frozen on the clean image and
            differentiated through; loss and damage are then taken on the network's grid.
        activation: ``"softmax"`` for K exclusive classes, labels ``(B, 1, *spatial)`` of class numbers, class 0 the
            background; ``"sigmoid"`` for independent channels or a single logit, labels ``(B, K, *spatial)`` of 0/1.
        ignore_index: label value of voxels that count in neither loss nor damage (a mask is a label with this value
            outside of it). The divergence has no label and covers all voxels.
        allow_empty: take labels without any foreground; their damage is 1 where anything is segmented.
        loss: ``"cross_entropy"`` (summed over voxels), ``"soft_jaccard"`` (much stronger in `PGD`),
            ``"masked_cross_entropy"``, ``"balanced_cross_entropy"``, ``"jensen_shannon"`` (the Segmentation Ensemble
            Attack's), ``"margin"``, ``"volume_down"`` and ``"volume_up"`` (a `VolumeLoss`, which may be of one class),
            a loss module such as MONAI's DiceCELoss or FocalLoss (taken sample by sample), or a callable
            ``(prediction, label) -> (B,)``.
        divergence: ``"cross_entropy"`` (Eq. 3), ``"kl"`` (Eq. 5), ``"reverse_kl"``, or a callable
            ``(prediction, reference) -> (B,)``.
        image_key, straight_through, degradation: as for `Victim`.

    Raises:
        ValueError: if an argument is outside its range; in use, if a label does not fit or is empty.

    Example:
        >>> from monai.inferers import SlidingWindowInferer
        >>> network = torch.nn.Conv3d(1, 2, 3, padding=1)
        >>> victim = SegmentationVictim(network, inferer=SlidingWindowInferer(8, overlap=0.5), loss="soft_jaccard")
        >>> prediction = victim.predict(torch.rand(1, 1, 12, 12, 12))
        >>> prediction.shape, victim.decide(prediction).shape
        (torch.Size([1, 2, 12, 12, 12]), torch.Size([1, 1, 12, 12, 12]))
    """

    losses = {
        "cross_entropy": logit_losses.cross_entropy,
        "soft_jaccard": voxel_losses.soft_jaccard,
        "sharp_jaccard": voxel_losses.sharp_jaccard,
        "masked_cross_entropy": voxel_losses.masked_cross_entropy,
        "balanced_cross_entropy": voxel_losses.balanced_cross_entropy,
        "jensen_shannon": voxel_losses.jensen_shannon,
        "margin": voxel_losses.margin,
        "volume_down": VolumeLoss("down"),
        "volume_up": VolumeLoss("up"),
    }

    allow_empty: bool = False

    def target(self, label: Tensor) -> Tensor:
        """Class numbers without their channel, or 0/1 per channel."""
        label = self.as_label(label)
        return label[:, 0] if self.activation == "softmax" and label.ndim > 1 and label.shape[1] == 1 else label

    def decide(self, prediction: Tensor) -> Tensor:
        """Class numbers ``(B, 1, *spatial)``, or 0/1 per channel ``(B, K, *spatial)``."""
        decided = self.output.decide(prediction)
        return decided.unsqueeze(1) if self.activation == "softmax" else decided

    def damage(self, prediction: Tensor, label: Tensor) -> Tensor:
        """1 - Jaccard index of the decision, mean over the foreground classes that decision or label hold ``(B,)``.

        0 where neither holds one; `monai_smia.metrics.SegmentationMetrics` has the same Jaccard index. With a
        `GoalLoss` as loss it is that loss's: how far a volume is driven (`VolumeLoss`), or 1 - the Jaccard index of one
        class (`StructureLoss`).
        """
        target = self.target(label)
        self.check_fits(prediction, label, target)
        if isinstance(goal := self.loss.function, GoalLoss):
            return goal.damage(self.output, prediction, target)
        return 1 - self.output.overlap(prediction, target).jaccard()

    def dense_scores(self, prediction: Tensor) -> Tensor:
        """Scores before the softmax of every voxel ``(B, N, K)``; with ``"sigmoid"`` every channel's no and yes."""
        prediction = in_full(prediction)
        if self.activation == "softmax":
            return prediction.flatten(2).transpose(1, 2)
        return torch.stack([torch.zeros_like(prediction), prediction], -1).flatten(1, -2)

    def dense_held(self, scores: Tensor, truth: Tensor) -> Tensor:
        """Whether every voxel is still decided as its true class ``(B, N)``, by `dense_scores` and `dense_truth`."""
        return scores.argmax(2) == truth

    def dense_truth(self, prediction: Tensor, label: Tensor) -> Tensor:
        """The true class of every voxel ``(B, N)``; -1 where the label does not count."""
        target = self.target(label).flatten(1).long()
        counted = self.output.counted(target)
        return target if counted is None else target.where(counted, -1)

    def check_label(self, prediction: Any, label: Any) -> None:
        """Raise where the label does not fit the prediction, or holds no foreground."""
        super().check_label(prediction, label)
        if self.allow_empty:
            return
        target = self.target(label)
        truth = target > 0 if self.output.exclusive else target == 1
        counted = self.output.counted(target)
        truth = truth if counted is None else truth & counted
        empty = (~truth.flatten(1).any(1)).nonzero().flatten().tolist()
        if empty:
            raise ValueError(
                f"label must hold foreground, samples {empty} hold none; leave them out, or set allow_empty=True."
            )

    def _label_to_network(self, image: Tensor, label: Any) -> Any:
        assert self._frozen is not None
        check_label_map(image, label)
        return self._frozen.label_to_network(label)

    def _to_image_grid(self, prediction: Tensor) -> Tensor:
        assert self._frozen is not None
        return self._frozen.back(in_full(prediction))
