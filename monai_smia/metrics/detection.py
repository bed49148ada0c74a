"""Detection metrics: objects found, missed and invented, and average precision as COCO defines it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_smia.metrics.base import CaseMetrics, means
from monai_smia.metrics.boxes import check_numbers, found_and_invented, match_boxes, overlaps

IOUS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)


class DetectionMetrics(CaseMetrics):
    """IoU, missed and invented objects of every case; mAP over cases.

    Of the boxes with at least `min_score`: `iou` is the mean over a case's objects of the IoU with a box of their
    class, each box for one object, so that it is largest, and 0 where none is left; `missed` is the share of objects
    that no box finds (IoU 0.5, one to one); both are undefined without objects. `invented` is the number of boxes that
    find no object.

    `map50` is the average precision at IoU 0.5 and `map` its mean over IoU 0.5 to 0.95 in steps of 0.05, both means
    over the classes that the ground truth of the cases holds: COCO's definition, 101 recall points, at most `max_boxes`
    boxes a case. Of several classes, ``map50_<class>`` is that of one, None where the cases hold no object of it.

    Boxes are matched by MONAI (`matching_batch`). Its COCOMetric is not used for what follows: it averages a class that
    is absent from the ground truth in as -1, and compares recalls in single precision, which moved a mean average
    precision by up to 0.006 from that of pycocotools. This one equals it.

    Args:
        classes: names of the classes, in the detector's order.
        min_score: boxes below do not count, but for average precision.
        max_boxes: boxes of a case that count for average precision, the best first.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> metrics = DetectionMetrics(["polyp"])
        >>> truth = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([0])}
        >>> found = {"boxes": torch.tensor([[0.0, 0, 10, 8], [20, 20, 30, 30]]), "labels": torch.tensor([0, 0]),
        ...          "scores": torch.tensor([0.9, 0.4])}
        >>> record = metrics.compare(found, truth)
        >>> {name: round(value, 3) for name, value in metrics.summary([record]).items()}
        {'iou': 0.8, 'missed': 0.0, 'invented': 1.0, 'map50': 1.0, 'map': 0.7}
    """

    primary = "map50"
    ranges = {"iou": (0, 1), "missed": (0, 1), "invented": (0, float("inf"))}
    lower_is_better = frozenset(("missed", "invented"))

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
        return self.compare(victim.decide(prediction)[0], victim.as_label(label)[0])

    def compare(self, decision: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> dict[str, Any]:
        """The values of one case that a record keeps.

        Args:
            decision: ``boxes``, ``labels`` and ``scores`` of the boxes found.
            truth: ``boxes`` and ``labels`` of the objects.

        Returns:
            `iou`, `missed`, `invented`, and for the average precision: `objects`, the number of objects of every class,
            and `detections`, of every class ``[score, bits]`` a box, the best first; bit t says that the box is a match
            at the IoU threshold ``0.5 + 0.05 * t``.

        Raises:
            ValueError: if a class is none of `classes`, a number is NaN or infinite, an object has no area, or there
                are not as many boxes as classes and scores.
        """
        for name, boxes in (("decision", decision), ("label", truth)):
            self._check_classes(name, boxes["labels"])
            check_numbers(name, boxes)
        matches = match_boxes(decision, truth, IOUS.tolist(), self.max_boxes)
        powers = 1 << np.arange(len(IOUS))
        detections: list[list[Any]] = [[] for _ in self.classes]
        for number, match in matches.items():
            bits = powers @ match["dtMatches"].astype(bool)
            detections[number] = [[float(s), int(b)] for s, b in zip(match["dtScores"], bits, strict=True)]
        sure = {key: decision[key][decision["scores"] >= self.min_score] for key in ("boxes", "labels", "scores")}
        count = len(truth["boxes"])
        found, invented = found_and_invented(sure, truth, float(IOUS[0]))
        return self.checked(
            {
                "iou": float(overlaps(sure, truth).mean()) if count else None,
                "missed": 1 - found / count if count else None,
                "invented": float(invented),
                "objects": torch.bincount(truth["labels"].long(), minlength=len(self.classes)).tolist(),
                "detections": detections,
            }
        )

    def summary(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """Means over the cases, `map50` and `map`, `map50` by class; None where no case has an object."""
        by_class = {name: average_precision(records, number) for number, name in enumerate(self.classes)}
        known = [precision for precision in by_class.values() if precision is not None]
        overall = np.mean(known, 0) if known else None  # at every IoU
        found = {"map50": overall, **({f"map50_{n}": p for n, p in by_class.items()} if len(by_class) > 1 else {})}
        at_half = {name: None if precision is None else float(precision[0]) for name, precision in found.items()}
        return {**means(records), **at_half, "map": None if overall is None else float(overall.mean())}

    def _check_classes(self, name: str, labels: Tensor) -> None:
        if len(labels) and not bool(((labels >= 0) & (labels < len(self.classes)) & (labels == labels.round())).all()):
            raise ValueError(
                f"{name} must hold classes from 0 to {len(self.classes) - 1}, {self.classes}, got {labels.tolist()}."
            )


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
