"""Segmentations of which the final label map alone is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from monai_smia.metrics.overlap import Overlap
from monai_smia.victims.choice import Choice
from monai_smia.victims.segmentation import SegmentationVictim


def decided_jaccard(output: Any, prediction: Tensor, target: Tensor) -> Tensor:
    """1 - Jaccard index of label maps ``(B, 1, *spatial)``, mean over the foreground classes that either holds."""
    decided = prediction[:, 0].long()
    classes = max(int(decided.max()), int(target.max()), 1) + 1
    return 1 - Overlap.of_classes(decided, target, classes, output.counted(target)).jaccard()


@dataclass(kw_only=True, eq=False)
class LabelMapVictim(SegmentationVictim):
    """A segmentation whose predictions are decisions: label maps of exclusive classes ``(B, 1, *spatial)``.

    Scores, and so a gradient, are not known of it; attacks that ask for decisions alone take it as any victim.

    Args:
        classes: how many there are, with the background.

    The other arguments are those of `SegmentationVictim`; the loss is ``"jaccard"``, that of the decision.

    Example:
        >>> import torch
        >>> victim = LabelMapVictim(torch.nn.Identity(), classes=2)
        >>> label = torch.tensor([[[[0, 1], [1, 1]]]])
        >>> victim.damage(victim.predict(torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]])), label).round(decimals=3).tolist()
        [0.333]
    """

    losses = {"jaccard": decided_jaccard}

    classes: int
    loss: Choice = Choice("jaccard")

    def decide(self, prediction: Tensor) -> Tensor:
        """The prediction, which is a decision."""
        return prediction.long() if prediction.is_floating_point() else prediction

    def damage(self, prediction: Tensor, label: Tensor) -> Tensor:
        """1 - Jaccard index, as that of any `SegmentationVictim`."""
        target = self.target(label)
        counted = self.output.counted(target)
        return 1 - Overlap.of_classes(self.decide(prediction)[:, 0], target, self.classes, counted).jaccard()

    def check_label(self, prediction: Any, label: Any) -> None:
        """Raise where the label lies on another grid, holds other classes, or no foreground."""
        if not isinstance(label, Tensor) or label.shape != prediction.shape:
            got = tuple(label.shape) if isinstance(label, Tensor) else type(label).__name__
            raise ValueError(f"label must be a label map of shape {tuple(prediction.shape)}, got {got}.")
        target = self.target(label)
        counted = self.output.counted(target)
        values = target if counted is None else target[counted]
        if not values.numel() or int(values.min()) < 0 or int(values.max()) >= self.classes:
            ends = f"{int(values.min())} to {int(values.max())}" if values.numel() else "none"
            raise ValueError(f"label must hold classes from 0 to {self.classes - 1}, got {ends}.")
        if not self.allow_empty and not bool((values > 0).any()):
            raise ValueError("label must hold foreground, got none; leave the case out, or set allow_empty=True.")
