"""Boxes of a decision and objects of a label, one to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.apps.detection.metrics.matching import matching_batch
from monai.data.box_utils import box_iou
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Boxes = Mapping[str, Tensor]


def check_numbers(name: str, value: Boxes) -> None:
    """Raise a ValueError where boxes or scores cannot be compared with others.

    Args:
        name: how messages call the boxes.
        value: ``boxes`` ``(N, 2 * dims)``, ``labels`` ``(N,)`` and, of what was found, ``scores`` ``(N,)``; an object
            has none, and must have an area.

    Example:
        >>> check_numbers("label", {"boxes": torch.tensor([[3.0, 3, 3, 9]]), "labels": torch.tensor([0])})
        Traceback (most recent call last):
        ValueError: label must hold boxes whose lower corners are below the upper ones, got [3.0, 3.0, 3.0, 9.0].
    """
    boxes, counts = value["boxes"], {key: len(value[key]) for key in ("boxes", "labels", "scores") if key in value}
    if len(set(counts.values())) > 1 or boxes.ndim != 2 or boxes.shape[1] % 2:
        raise ValueError(f"{name} must hold as many boxes as labels and scores, got {counts}, {tuple(boxes.shape)}.")
    for key in counts.keys() - {"labels"}:
        if not bool(value[key].isfinite().all()):
            raise ValueError(f"{name} must hold finite {key}, got {value[key].tolist()!s:.80}.")
    low, high = boxes.chunk(2, 1)
    bad = ((low > high) if "scores" in value else (low >= high)).any(1)
    if bool(bad.any()):
        first = boxes[bad][0].tolist()
        raise ValueError(f"{name} must hold boxes whose lower corners are below the upper ones, got {first}.")


def match_boxes(decision: Boxes, truth: Boxes, ious: Sequence[float], max_boxes: int) -> dict[int, dict[str, Any]]:
    """Boxes matched with objects as COCO does it, class by class.

    From the highest score on, a box takes the object that it overlaps most of those that are left; no object is found
    by two boxes, and no box finds two.

    Args:
        decision: ``boxes``, ``labels`` and ``scores``.
        truth: ``boxes`` and ``labels``.
        ious: least overlaps, one matching for each.
        max_boxes: boxes of a class that are looked at, the best first.

    Returns:
        Of every class that occurs what MONAI's `matching_batch` says: ``dtMatches`` (overlap, box), ``gtMatches``
        (overlap, object) and ``dtScores``.

    Example:
        >>> wide = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([0]), "scores": torch.ones(1)}
        >>> two = {"boxes": torch.tensor([[0.0, 0, 10, 6], [0, 3, 10, 10]]), "labels": torch.tensor([0, 0])}
        >>> match_boxes(wide, two, [0.5], 100)[0]["gtMatches"].tolist()
        [[0.0, 1.0]]
    """
    found = {key: np.asarray(decision[key].detach().cpu()) for key in ("boxes", "labels", "scores")}
    there = {key: np.asarray(truth[key].detach().cpu()) for key in ("boxes", "labels")}
    (matches,) = matching_batch(
        box_iou,  # type: ignore[arg-type]  # annotated for one kind of array, works on all
        list(ious),
        [found["boxes"]],
        [found["labels"]],
        [found["scores"]],
        [there["boxes"].astype(found["boxes"].dtype)],
        [there["labels"]],
        max_detections=max_boxes,
    )
    return {int(number): match for number, match in matches.items()}


def found_and_invented(decision: Boxes, truth: Boxes, iou: float) -> tuple[int, int]:
    """How many objects are found, and how many boxes find none.

    Args:
        decision: ``boxes``, ``labels`` and ``scores`` of the boxes that count.
        truth: ``boxes`` and ``labels``.
        iou: least overlap.
    """
    matches = match_boxes(decision, truth, [iou], max(len(decision["boxes"]), 1))
    found = int(sum(match["gtMatches"].sum() for match in matches.values()))
    return found, len(decision["boxes"]) - found


def overlaps(decision: Boxes, truth: Boxes) -> np.ndarray:
    """The IoU of every object with a box of its class, no box for two of them, so that their sum is largest ``(N,)``.

    Example:
        >>> wide = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([0])}
        >>> two = {"boxes": torch.tensor([[0.0, 0, 10, 6], [0, 3, 10, 10]]), "labels": torch.tensor([0, 0])}
        >>> overlaps(wide, two).round(3).tolist()
        [0.0, 0.7]
    """
    values = np.zeros(len(truth["boxes"]))
    if len(decision["boxes"]) and len(values):
        there, found = (value["boxes"].detach().cpu().double() for value in (truth, decision))
        same = truth["labels"].cpu()[:, None] == decision["labels"].cpu()[None]
        overlap = np.asarray(torch.as_tensor(box_iou(there, found)) * same)
        objects, boxes = linear_sum_assignment(overlap, maximize=True)
        values[objects] = overlap[objects, boxes]
    return values
