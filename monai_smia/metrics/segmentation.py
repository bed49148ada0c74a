"""Segmentation metrics of one case, all of them MONAI's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou, get_confusion_matrix
from monai.networks.utils import one_hot
from torch import Tensor

from monai_smia.metrics.base import CaseMetrics, numbers


class SegmentationMetrics(CaseMetrics):
    """Mean accuracy, Jaccard, Dice and HD95 of every case of a batch.

    `accuracy` is the mean over classes, background included, of the share of a class's voxels that are found (the
    "mean accuracy" of semantic segmentation). The others are means over the foreground classes that the label holds.

    Args:
        num_classes: number of classes with the background for exclusive classes; None for 0/1 channels.

    Raises:
        ValueError: if `num_classes` is below 2.

    Example:
        >>> label = torch.zeros(1, 1, 8, 8, dtype=torch.long)
        >>> label[..., 2:6, 2:6] = 1
        >>> decision = label.clone()
        >>> decision[..., 2, 2:6] = 0
        >>> values = SegmentationMetrics(num_classes=2)(decision, label, spacing=(1.0, 1.0))
        >>> {name: round(float(value), 3) for name, value in values.items()}
        {'accuracy': 0.875, 'jaccard': 0.75, 'dice': 0.857, 'hd95': 1.0}
    """

    primary = "jaccard"

    def __init__(self, num_classes: int | None = 2) -> None:
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, or None for 0/1 channels, got {num_classes}.")
        self.num_classes = num_classes

    def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
        """`accuracy, jaccard, dice, hd95` of the victim's decision; None where undefined."""
        return numbers(self(victim.decide(prediction), label, _spacing(image)))

    @torch.no_grad()
    def __call__(self, decision: Tensor, label: Tensor, spacing: Sequence[float]) -> dict[str, Tensor]:
        """The metrics.

        Args:
            decision: classes ``(B, 1, *spatial)`` or 0/1 channels ``(B, K, *spatial)``.
            label: of the same shape.
            spacing: size of a voxel along each axis, in mm.

        Returns:
            ``accuracy, jaccard, dice`` in [0, 1] and ``hd95`` in mm, each ``(B,)``; NaN where undefined (HD95 of an
            empty decision).
        """
        exclusive = self.num_classes is not None
        if exclusive:
            decision, label = (one_hot(t, self.num_classes or 2) for t in (decision, label))
        decision, label = decision.float(), label.float()
        counts = get_confusion_matrix(decision, label, include_background=True)  # (B, K, tp fp tn fn)
        recall = counts[..., 0] / (counts[..., 0] + counts[..., 3])
        if not exclusive:
            recall = torch.stack([recall, counts[..., 2] / (counts[..., 2] + counts[..., 1])], 2).flatten(1)
        options: dict[str, Any] = {"include_background": not exclusive}
        distance = compute_hausdorff_distance(
            decision, label, percentile=95, spacing=[float(s) for s in spacing], **options
        )
        return {
            "accuracy": recall.nanmean(1),
            "jaccard": compute_iou(decision, label, ignore_empty=True, **options).nanmean(1),
            "dice": compute_dice(decision, label, ignore_empty=True, **options).nanmean(1),
            "hd95": distance.where(distance.isfinite(), torch.nan).nanmean(1),
        }


def _spacing(image: Tensor) -> list[float]:
    """Size of a voxel of a batch along each axis; 1 where it is not known."""
    rank = image.ndim - 2
    if not isinstance(image, MetaTensor):
        return [1.0] * rank
    pixdim = image.pixdim[0] if image.is_batch else image.pixdim
    return [float(p) for p in pixdim][:rank]
