"""Boxes as a label, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def check_boxes(truth: Any, size: Sequence[int], num_classes: int, where: str = "label") -> None:
    """Raise a ValueError where the boxes of an image cannot be what a detector is to find.

    Args:
        truth: ``boxes`` ``(N, 2 * dims)`` and ``labels`` ``(N,)``.
        size: the image's spatial size.
        num_classes: labels must lie below it.
        where: how messages call the label.

    Example:
        >>> check_boxes({"boxes": torch.tensor([[1.0, 1, 9, 5]]), "labels": torch.tensor([0])}, (8, 8), 1)
        Traceback (most recent call last):
        ValueError: label["boxes"][0] = [1.0, 1.0, 9.0, 5.0] must lie inside of the image of size (8, 8).
    """
    if not (isinstance(truth, Mapping) and isinstance(truth.get("boxes"), Tensor) and "labels" in truth):
        raise ValueError(f'{where} must be a dictionary with the tensors "boxes" and "labels", got {truth!r:.80}.')
    boxes, labels, dims = truth["boxes"], torch.as_tensor(truth["labels"]), len(size)
    if boxes.ndim != 2 or boxes.shape[1] != 2 * dims or len(boxes) != len(labels) or labels.ndim != 1:
        raise ValueError(
            f'{where} must hold "boxes" of shape (N, {2 * dims}) and "labels" of shape (N,), got '
            f"{tuple(boxes.shape)} and {tuple(labels.shape)}."
        )
    if len(boxes) and boxes.min() >= 0 and boxes.max() <= 1 < min(size):
        raise ValueError(
            f'{where}["boxes"] must be in pixels of the image of size {tuple(size)}; all corners lie in [0, 1], '
            "as shares of the image's size do: multiply them by it."
        )
    limit = boxes.new_tensor(size)
    low, high = boxes[:, :dims], boxes[:, dims:]
    for bad, rule in (
        (~boxes.isfinite().all(1), "must be finite"),
        ((low >= high).any(1), "must have an area: every lower corner below its upper one"),
        ((low < 0).any(1) | (high > limit).any(1), f"must lie inside of the image of size {tuple(size)}"),
    ):
        if bool(bad.any()):
            first = int(bad.nonzero()[0])
            raise ValueError(f'{where}["boxes"][{first}] = {boxes[first].tolist()} {rule}.')
    if not bool(((labels >= 0) & (labels < num_classes) & (labels == labels.round())).all()):
        raise ValueError(f'{where}["labels"] must be class numbers from 0 to {num_classes - 1}, got {labels.tolist()}.')
