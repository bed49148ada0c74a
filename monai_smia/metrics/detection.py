"""Detection metrics: the overlap with each object, and average precision as COCO defines it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.apps.detection.metrics.matching import matching_batch
from monai.data.box_utils import box_iou
from torch import Tensor

from monai_smia.metrics.base import CaseMetrics, means

IOUS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)


class DetectionMetrics(CaseMetrics):
    """IoU of every case; mAP over cases.

    `iou` is the mean over a case's objects of the IoU with the best box of their class, whatever its score above
    `min_score`, and 0 where there is none; undefined without objects. `map50` is the average precision at IoU 0.5 and
    `map` its mean over IoU 0.5 to 0.95 in steps of 0.05, both means over the classes that the ground truth of the cases
    holds: COCO's definition, 101 recall points, at most `max_boxes` boxes a case. Of several classes,
    ``map50_<class>`` is that of one, None where the cases hold no object of it.

    Boxes are matched by MONAI (`matching_batch`). Its COCOMetric is not used for what follows: it averages a class that
    is absent from the ground truth in as -1, and compares recalls in single precision, which moved a mean average
    precision by up to 0.006 from that of pycocotools. This one equals it.

    Args:
        classes: names of the classes, in the detector's order.
        min_score: boxes below do not count for `iou`.
        max_boxes: boxes of a case that count for average precision, the best first.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> metrics = DetectionMetrics(["polyp"])
        >>> truth = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([0])}
        >>> found = {"boxes": torch.tensor([[0.0, 0, 10, 8], [20, 20, 30, 30]]), "labels": torch.tensor([0, 0]),
        ...          "scores": torch.tensor([0.9, 0.4])}
        >>> record = metrics.compare(found, truth)
        >>> round(record["iou"], 3), {k: round(v, 3) for k, v in metrics.summary([record]).items()}
        (0.8, {'iou': 0.8, 'map50': 1.0, 'map': 0.7})
    """

    primary = "map50"

    def __init__(self, classes: Sequence[str], *, min_score: float = 0.3, max_boxes: int = 100) -> None:
        if not classes:
            raise ValueError("classes must name at least one class, got none.")
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score must lie in [0, 1], got {min_score}.")
        if max_boxes < 1:
            raise ValueError(f"max_boxes must be a whole number >= 1, got {max_boxes}.")
        self.classes = list(classes)
        self.min_score = min_score
        self.max_boxes = max_boxes

    def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
        """`compare` of the victim's decision with the label."""
        return self.compare(victim.decide(prediction)[0], label[0])

    def compare(self, decision: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> dict[str, Any]:
        """The values of one case that a record keeps.

        Args:
            decision: ``boxes``, ``labels`` and ``scores`` of the boxes found.
            truth: ``boxes`` and ``labels`` of the objects.

        Returns:
            `iou`, and for the average precision: `objects`, the number of objects of every class, and `detections`, of
            every class ``[score, bits]`` a box, the best first; bit t says that the box is a match at the IoU
            threshold ``0.5 + 0.05 * t``.
        """
        found = {key: np.asarray(decision[key].detach().cpu()) for key in ("boxes", "labels", "scores")}
        there = {key: np.asarray(truth[key].detach().cpu()) for key in ("boxes", "labels")}
        (matches,) = matching_batch(
            box_iou,  # type: ignore[arg-type]  # annotated for one kind of array, works on all
            IOUS.tolist(),
            [found["boxes"]],
            [found["labels"]],
            [found["scores"]],
            [there["boxes"]],
            [there["labels"]],
            max_detections=self.max_boxes,
        )
        powers = 1 << np.arange(len(IOUS))
        detections: list[list[Any]] = [[] for _ in self.classes]
        for number, match in matches.items():
            bits = powers @ match["dtMatches"].astype(bool)
            detections[int(number)] = [[float(s), int(b)] for s, b in zip(match["dtScores"], bits, strict=True)]
        return {
            "iou": self._iou(decision, truth),
            "objects": np.bincount(there["labels"], minlength=len(self.classes)).tolist(),
            "detections": detections,
        }

    def summary(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """Means over the cases, `map50` and `map`, `map50` by class; None where no case has an object."""
        by_class = {name: average_precision(records, number) for number, name in enumerate(self.classes)}
        known = [precision for precision in by_class.values() if precision is not None]
        overall = np.mean(known, 0) if known else None  # at every IoU
        found = {"map50": overall, **({f"map50_{n}": p for n, p in by_class.items()} if len(by_class) > 1 else {})}
        at_half = {name: None if precision is None else float(precision[0]) for name, precision in found.items()}
        return {**means(records), **at_half, "map": None if overall is None else float(overall.mean())}

    def _iou(self, decision: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> float | None:
        if not len(truth["boxes"]):
            return None
        sure = decision["scores"] >= self.min_score
        if not bool(sure.any()):
            return 0.0
        overlap = torch.as_tensor(box_iou(truth["boxes"].float(), decision["boxes"][sure].float()))
        same = truth["labels"][:, None] == decision["labels"][sure][None]
        return float((overlap * same).amax(1).mean())


def average_precision(records: Sequence[Mapping[str, Any]], number: int) -> np.ndarray | None:
    """Average precision of one class at every IoU of `IOUS`, None where no record has an object of it.

    Args:
        records: as `DetectionMetrics.compare` makes them.
        number: of the class.
    """
    objects = sum(record["objects"][number] for record in records)
    if not objects:
        return None
    found = [box for record in records for box in record["detections"][number]]
    if not found:
        return np.zeros(len(IOUS))
    scores, bits = np.array([score for score, _ in found]), np.array([bit for _, bit in found])
    bits = bits[np.argsort(-scores, kind="stable")]
    hits = np.cumsum((bits[None] >> np.arange(len(IOUS))[:, None]) & 1, 1).astype(float)
    precision = hits / np.arange(1, len(bits) + 1)
    precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]  # the best precision at this recall or above
    recall = hits / objects
    places = [np.searchsorted(row, _RECALLS, side="left") for row in recall]
    padded = np.concatenate([precision, np.zeros((len(IOUS), 1))], 1)
    return np.array([row[place].mean() for row, place in zip(padded, places, strict=True)])
