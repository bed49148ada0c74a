"""The volume of a structure as what an attack is after: a clinician's number instead of an overlap."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from monai_smia.victims.choice import GoalLoss
from monai_smia.victims.outputs import Output

DIRECTIONS = ("down", "up")


@dataclass(frozen=True)
class VolumeLoss(GoalLoss):
    """Drives the volume of a structure down or up, whatever that does to its overlap.

    The loss is the soft volume, the sum over voxels of the structure's probability (negated to drive it down); iterates
    are compared by the decided volume, which is what a report reads. As a loss of an attack its `damage` takes the
    place of 1 - Jaccard while the attack runs: a `SegmentationVictim` knows ``"volume_down"`` and ``"volume_up"`` by
    name. Where a decision hangs on a threshold (volume above 4 l), what pushes it over is driving the volume toward it:
    `monai_smia.metrics.SegmentationMetrics` says which cases crossed it (`volume_thresholds`).

    Args:
        direction: ``"down"`` or ``"up"``.
        structure: number of the class (of the channel, where channels are independent); None for all foreground
            together.

    Raises:
        ValueError: if the direction is none of these; in use, if the network has no such class.

    Example:
        >>> from monai_smia.attacks import PGD
        >>> from monai_smia.victims import SegmentationVictim
        >>> _ = torch.manual_seed(0)
        >>> victim, image = SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1)), torch.rand(1, 1, 16, 16)
        >>> attack = PGD(eps=0.1, steps=3, loss=VolumeLoss("up", structure=1))
        >>> adversarial = attack(victim, image, (image > 0.5).long()).adversarial
        >>> before, after = (int(victim.decide(victim.infer(each)).sum()) for each in (image, adversarial))
        >>> after > before
        True
    """

    direction: str
    structure: int | None = None

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {DIRECTIONS}, got {self.direction!r}.")

    @property
    def __name__(self) -> str:
        """Name in tables and files: ``"volume_down"``, ``"volume_up_2"``."""
        return f"volume_{self.direction}" + ("" if self.structure is None else f"_{self.structure}")

    def __call__(self, output: Output, prediction: Tensor, target: Tensor) -> Tensor:
        """The soft volume of what counts ``(B,)``, negated to drive it down."""
        probability = self._counted(output, output.probabilities(prediction), target)
        volume = self._own(output, probability).flatten(1).sum(1)
        return volume if self.direction == "up" else -volume

    @torch.no_grad()
    def damage(self, output: Output, prediction: Tensor, target: Tensor) -> Tensor:
        """How far the decided volume is driven ``(B,)``, float64, in [0, 1], 0 at the label's volume.

        Down: the share of the label's volume that is gone. Up: the share of all other voxels that is added.
        """
        channels = prediction.shape[1]
        every = torch.ones(len(prediction), *prediction.shape[1:], dtype=torch.bool, device=prediction.device)
        masks = (output.one_hot(output.decide(prediction), channels), output.one_hot(target, channels), every)
        decided, truth, total = (self._volume(output, mask, target) for mask in masks)
        if output.exclusive and self.structure is None:
            total = total / (channels - 1)
        gone, added = truth - decided, decided - truth
        share = gone / truth.clamp_min(1) if self.direction == "down" else added / (total - truth).clamp_min(1)
        return share.clamp(0, 1)

    def _volume(self, output: Output, mask: Tensor, target: Tensor) -> Tensor:
        return self._own(output, self._counted(output, mask, target)).flatten(1).sum(1).double()

    def _own(self, output: Output, per_channel: Tensor) -> Tensor:
        """The structure's part of ``(B, K, *spatial)``.

        Raises:
            ValueError: if there is none.
        """
        first = 1 if output.exclusive else 0
        if self.structure is None:
            return per_channel[:, first:]
        if not first <= self.structure < per_channel.shape[1]:
            raise ValueError(f"structure must lie from {first} to {per_channel.shape[1] - 1}, got {self.structure}.")
        return per_channel[:, self.structure]

    @staticmethod
    def _counted(output: Output, per_channel: Tensor, target: Tensor) -> Tensor:
        counted = output.counted(target)
        if counted is None:
            return per_channel
        return per_channel * (counted.unsqueeze(1) if counted.ndim < per_channel.ndim else counted)
