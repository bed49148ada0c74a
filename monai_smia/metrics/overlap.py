"""The overlap of two masks, class by class: the one definition that damage, Jaccard and Dice are made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Overlap:
    """Voxels of every class, counted exactly.

    A mean over classes is one over those that decision or label hold (a class that is invented counts as one without
    overlap, a class that neither holds does not count). Where there is none, decision and label agree, and it is 1.

    Args:
        both: voxels that decision and label hold ``(B, K)``, float64.
        decided: voxels of the decision.
        truth: voxels of the label.

    Example:
        >>> decided = torch.tensor([[[True, True, False], [False, False, True]]])  # two classes, three voxels
        >>> truth = torch.tensor([[[True, False, False], [False, False, False]]])
        >>> overlap = Overlap.of(decided, truth)
        >>> overlap.jaccard().tolist(), overlap.dice().tolist()  # the second class is invented
        ([0.25], [0.3333333333333333])
    """

    both: Tensor
    decided: Tensor
    truth: Tensor

    @classmethod
    def of(cls, decided: Tensor, truth: Tensor) -> Overlap:
        """Of two masks ``(B, K, *spatial)``, bool."""
        return cls(*((mask.flatten(2).sum(2).double()) for mask in (decided & truth, decided, truth)))

    def part(self, classes: slice) -> Overlap:
        """Of some of the classes."""
        return Overlap(self.both[:, classes], self.decided[:, classes], self.truth[:, classes])

    @classmethod
    def of_classes(cls, decided: Tensor, truth: Tensor, classes: int, counted: Tensor | None = None) -> Overlap:
        """Of two maps of exclusive classes ``(B, *spatial)``, without the background.

        Args:
            decided: whole numbers from 0 on.
            truth: the same.
            classes: their number, with the background.
            counted: voxels that count, bool; None for all of them.
        """
        if classes == 2:
            masks = (value.unsqueeze(1) == 1 for value in (decided, truth))
            return cls.of(*(mask if counted is None else mask & counted.unsqueeze(1) for mask in masks))
        pairs = truth.long() * classes + decided
        sample = torch.arange(len(truth), device=truth.device).view(-1, *[1] * (truth.ndim - 1)) * classes**2
        pairs = (pairs + sample).flatten() if counted is None else (pairs + sample)[counted]
        table = torch.bincount(pairs, minlength=len(truth) * classes**2).view(len(truth), classes, classes).double()
        return cls(table.diagonal(dim1=1, dim2=2)[:, 1:], table.sum(1)[:, 1:], table.sum(2)[:, 1:])

    @property
    def held(self) -> Tensor:
        """The classes that decision or label hold ``(B, K)``, bool."""
        return self.decided + self.truth > 0

    def jaccard(self) -> Tensor:
        """Intersection over union, mean over the classes held ``(B,)``."""
        union = self.decided + self.truth - self.both
        return self._mean(self.both / union.clamp_min(1))

    def dice(self) -> Tensor:
        """Twice the intersection over the sum, mean over the classes held ``(B,)``."""
        return self._mean(2 * self.both / (self.decided + self.truth).clamp_min(1))

    def _mean(self, per_class: Tensor) -> Tensor:
        """Classes that are not held have no overlap, and add nothing to the sum."""
        held = self.held.sum(1)
        return torch.where(held > 0, per_class.sum(1) / held.clamp_min(1), 1.0)
