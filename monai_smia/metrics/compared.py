"""Decision and truth of one sample, compared class by class on the part of the grid where either holds anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import find_objects
from torch import Tensor

from monai_smia.metrics.overlap import Overlap

Box = tuple[slice, ...]
Masks = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Compared:
    """One sample.

    Args:
        overlap: voxels of every class ``(1, K)``; of exclusive classes the first is the background.
        rest: voxels of every channel's other value ``(1, K)``; None of exclusive classes.
        invented: voxels decided as foreground where the truth holds none (of channels: where some channel is decided
            that the truth does not hold).
        masks: of a foreground class, by its number from 0 on, decision and truth as bool arrays on their common box.

    Example:
        >>> decided, truth = torch.tensor([[0, 1, 1], [0, 0, 2]]), torch.tensor([[0, 1, 0], [0, 0, 2]])
        >>> compared = Compared.of_classes(decided, truth, 3)
        >>> compared.overlap.both.tolist(), compared.invented, compared.masks(0)[0].tolist()
        ([[3.0, 1.0, 1.0]], 1.0, [[True, True]])
    """

    overlap: Overlap
    rest: Overlap | None
    invented: float
    masks: Callable[[int], Masks]

    @classmethod
    def of_classes(cls, decided: Tensor, truth: Tensor, classes: int, counted: Tensor | None = None) -> Compared:
        """Of two maps ``(*spatial)`` of class numbers; where `counted` is False neither says anything."""
        total = decided.numel() if counted is None else int(torch.count_nonzero(counted))
        maps = [_array(value, classes, counted) for value in (decided, truth)]
        boxes = [find_objects(value, classes - 1) for value in maps]
        every = _union([box for of_map in boxes for box in of_map])
        here, there = (value[every].ravel() for value in maps)
        pairs = np.bincount(there.astype(np.intp) * classes + here, minlength=classes**2).reshape(classes, classes)
        pairs[0, 0] += total - len(here)  # all around the box and, below 0, what does not count in it
        counts = (pairs.diagonal(), pairs.sum(0), pairs.sum(1))

        def masks(number: int) -> Masks:
            box = _union([of_map[number] for of_map in boxes])
            return maps[0][box] == number + 1, maps[1][box] == number + 1

        overlap = Overlap(*(torch.as_tensor(count[None].astype(float)) for count in counts))
        return cls(overlap, None, float(pairs[0, 1:].sum()), masks)

    @classmethod
    def of_channels(cls, decided: Tensor, truth: Tensor, counted: Tensor | None = None) -> Compared:
        """Of 0/1 channels ``(K, *spatial)``; where `counted`, of the same shape, is False neither says anything."""
        every_voxel = torch.ones_like(decided, dtype=torch.bool) if counted is None else counted
        total = torch.count_nonzero(every_voxel.flatten(1), 1).cpu().double()[None]
        maps = [_array(value, 2, counted) for value in (decided, truth)]
        boxes = [[find_objects(channel, 1)[0] for channel in value] for value in maps]

        def masks(number: int) -> Masks:
            box = _union([of_map[number] for of_map in boxes])
            return maps[0][number][box] == 1, maps[1][number][box] == 1

        counts = np.zeros((3, 1, len(decided)))
        for number in range(len(decided)):
            ours, theirs = masks(number)
            counts[:, 0, number] = [np.count_nonzero(mask) for mask in (ours & theirs, ours, theirs)]
        overlap = Overlap(*map(torch.as_tensor, counts))
        neither = total - overlap.decided - overlap.truth + overlap.both
        rest = Overlap(neither, total - overlap.decided, total - overlap.truth)
        every = _union(boxes[0])
        wrong = np.any([ours[every] > theirs[every] for ours, theirs in zip(*maps, strict=True)], 0)
        return cls(overlap, rest, float(np.count_nonzero(wrong)), masks)


def _array(value: Tensor, classes: int, counted: Tensor | None) -> np.ndarray:
    """Class numbers in the smallest type that holds them, 0 where they do not count."""
    small = value.to(torch.uint8 if classes <= 256 else torch.int32)
    return (small if counted is None else small.where(counted, 0)).cpu().numpy()


def _union(boxes: list[Box | None]) -> Box:
    """The smallest box around all of them; an empty one around none."""
    known = [box for box in boxes if box is not None]
    if not known:
        return (slice(0, 0),)
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*known, strict=True))
