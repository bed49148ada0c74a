"""Segmentation metrics of one case: overlap, distance, and what was invented."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.metrics import compute_hausdorff_distance
from torch import Tensor

from monai_smia.metrics.base import CaseMetrics, numbers
from monai_smia.metrics.overlap import Overlap


class SegmentationMetrics(CaseMetrics):
    """Mean accuracy, Jaccard, Dice, HD95 and invented volume of every case of a batch.

    - ``accuracy``: mean over the classes that the label holds, background included, of the share of a class's voxels
      that are found (the "mean accuracy" of semantic segmentation); of 0/1 channels the mean over both values of each.
    - ``jaccard``, ``dice``: mean over the foreground classes that decision or label hold, 1 where neither holds one
      (`monai_smia.metrics.overlap.Overlap`). A victim's damage is 1 - Jaccard.
    - ``hd95``: 95th percentile of the distance between the two surfaces in mm, mean over the same classes. Of a class
      that one of the two holds alone it is the diagonal of the image, so that the worst outcome reads as the worst;
      undefined where neither holds any.
    - ``invented``: voxels that are decided as foreground where the label holds none (of 0/1 channels: where some
      channel is decided that the label does not hold). In a record ``invented_ml``, in milliliters, of volumes whose
      voxels have a size, ``invented_voxels`` of others.

    Ignored labels (the victim's `ignore_index`) count in none of them.

    Args:
        num_classes: number of classes with the background for exclusive classes; None for 0/1 channels.

    Raises:
        ValueError: if `num_classes` is below 2; in use, if decision or label hold other classes.

    Example:
        >>> label = torch.zeros(1, 1, 8, 8, dtype=torch.long)
        >>> label[..., 2:6, 2:6] = 1
        >>> decision = label.clone()
        >>> decision[..., 2, 2:6] = 0
        >>> values = SegmentationMetrics(num_classes=2)(decision, label, spacing=(1.0, 1.0))
        >>> {name: round(float(value), 3) for name, value in values.items()}
        {'accuracy': 0.875, 'jaccard': 0.75, 'dice': 0.857, 'hd95': 1.0, 'invented': 0.0}
    """

    primary = "jaccard"
    ranges = {
        "accuracy": (0, 1),
        "jaccard": (0, 1),
        "dice": (0, 1),
        "hd95": (0, math.inf),
        "invented_ml": (0, math.inf),
        "invented_voxels": (0, math.inf),
    }
    lower_is_better = frozenset(("hd95", "invented_ml", "invented_voxels"))

    def __init__(self, num_classes: int | None = 2) -> None:
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, or None for 0/1 channels, got {num_classes}.")
        self.num_classes = num_classes

    def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
        """The metrics of the victim's decision; None where undefined."""
        spacing, ignored = spacing_of(image), getattr(victim, "ignore_index", None)
        values = self(
            victim.decide(prediction), victim.as_label(label), spacing or [1.0] * (image.ndim - 2), ignore_index=ignored
        )
        invented = values.pop("invented")
        if spacing is not None and len(spacing) == 3:
            values["invented_ml"] = invented * math.prod(spacing) / 1000
        else:
            values["invented_voxels"] = invented
        return self.checked(numbers(values))

    @torch.no_grad()
    def __call__(
        self, decision: Tensor, label: Tensor, spacing: Sequence[float], *, ignore_index: int | None = None
    ) -> dict[str, Tensor]:
        """The metrics.

        Args:
            decision: classes ``(B, 1, *spatial)`` or 0/1 channels ``(B, K, *spatial)``.
            label: of the same shape.
            spacing: size of a voxel along each axis, in mm.
            ignore_index: label value that does not count.

        Returns:
            ``accuracy, jaccard, dice`` in [0, 1], ``hd95`` in mm and ``invented`` in voxels, each ``(B,)``, float64;
            HD95 is NaN where undefined.
        """
        if decision.shape != label.shape:
            raise ValueError(f"label must have the decision's shape {tuple(decision.shape)}, got {tuple(label.shape)}.")
        counted = torch.ones_like(label, dtype=torch.bool) if ignore_index is None else label != ignore_index
        decided, truth = (
            self._masks(value, counted, name) & counted for name, value in (("decision", decision), ("label", label))
        )
        inner = slice(0 if self.num_classes is None else 1, None)  # the background of exclusive classes is the first
        foreground = Overlap.of(decided[:, inner], truth[:, inner])
        wrong = (decided & ~truth).any(1) if self.num_classes is None else decided[:, 1:].any(1) & ~truth[:, 1:].any(1)
        return {
            "accuracy": self._accuracy(Overlap.of(decided, truth), counted),
            "jaccard": foreground.jaccard(),
            "dice": foreground.dice(),
            "hd95": _distance(decided[:, inner], truth[:, inner], foreground, [float(s) for s in spacing]),
            "invented": wrong.flatten(1).sum(1).double(),
        }

    def _masks(self, value: Tensor, counted: Tensor, name: str) -> Tensor:
        """0/1 per class ``(B, K, *spatial)``, bool, of values that are known to be classes."""
        value = value.as_tensor() if isinstance(value, MetaTensor) else value
        values = value.where(counted, 0)
        highest = 1 if self.num_classes is None else self.num_classes - 1
        if not bool(((values >= 0) & (values <= highest) & (values == values.round())).all()):
            low, high = float(values.min()), float(values.max())
            raise ValueError(
                f"{name} must hold whole numbers from 0 to {highest}, got values from {low:g} to {high:g}; what does "
                "not count is the victim's ignore_index."
            )
        if self.num_classes is None:
            return values == 1
        classes = torch.arange(self.num_classes, device=value.device).view(1, -1, *[1] * (value.ndim - 2))
        return values == classes

    def _accuracy(self, overlap: Overlap, counted: Tensor) -> Tensor:
        """Mean share of found voxels over the classes that the label holds."""
        found = overlap.both / overlap.truth
        if self.num_classes is None:
            left = counted.flatten(2).sum(2).double() - overlap.truth
            found = torch.cat([found, (left - overlap.decided + overlap.both) / left], 1)
        return found.nanmean(1)


def spacing_of(image: Tensor) -> list[float] | None:
    """Size of a voxel of a batch along each axis; None where it is not known."""
    if not isinstance(image, MetaTensor):
        return None
    pixdim = image.pixdim[0] if image.is_batch else image.pixdim
    return [float(p) for p in pixdim][: image.ndim - 2]


def _distance(decided: Tensor, truth: Tensor, overlap: Overlap, spacing: list[float]) -> Tensor:
    """HD95 in mm, mean over the classes that decision or label hold ``(B,)``; NaN where neither holds any."""
    diagonal = math.hypot(*(n * s for n, s in zip(decided.shape[2:], spacing, strict=True)))
    per_class = torch.full_like(overlap.both, torch.nan)
    per_class[overlap.held] = diagonal
    for place in ((overlap.decided > 0) & (overlap.truth > 0)).nonzero().tolist():
        first, second = (mask[tuple(place)][None, None].float() for mask in (decided, truth))
        found = compute_hausdorff_distance(first, second, include_background=True, percentile=95, spacing=spacing)
        per_class[tuple(place)] = float(found)
    return per_class.nanmean(1)
