"""The score of the EAD challenge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_smia.metrics import DetectionMetrics


class ArtefactMetrics(DetectionMetrics):
    """`DetectionMetrics` with `ead`, by which EAD-2019 ranked detections: ``0.6 mAP + 0.4 IoU``.

    Both are those of `DetectionMetrics`, mAP over IoU 0.5 to 0.95. The challenge published other weights with its
    software (0.8 and 0.2) than on its page, and computes mAP at IoU 0.25 and the IoU over boxes instead of objects, so
    that its own tables are on another scale. None where either is undefined.

    Args:
        classes, min_score, max_boxes: as for `DetectionMetrics`.

    Example:
        >>> import torch
        >>> metrics = ArtefactMetrics(["blur"])
        >>> truth = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([0])}
        >>> found = {"boxes": torch.tensor([[0.0, 0, 10, 8]]), "labels": torch.tensor([0]), "scores": torch.ones(1)}
        >>> summary = metrics.summary([metrics.compare(found, truth)])
        >>> {name: round(summary[name], 3) for name in ("iou", "map", "ead")}
        {'iou': 0.8, 'map': 0.7, 'ead': 0.74}
    """

    def summary(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """As `DetectionMetrics.summary`, and `ead`."""
        found = super().summary(records)
        precision, overlap = found.get("map"), found.get("iou")
        score = None if precision is None or overlap is None else 0.6 * precision + 0.4 * overlap
        return {**found, "ead": score}
