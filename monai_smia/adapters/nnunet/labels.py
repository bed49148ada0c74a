"""What nnU-Net's label maps mean: exclusive labels, or regions that overlap, as a victim takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

IGNORED = -1  # in regions, whose channels hold 0 and 1


@dataclass(frozen=True)
class Labels:
    """The labels of a dataset.

    Args:
        names: of the channels of `truth`'s one-hot form, the background's first where labels are exclusive.
        regions: the labels of every region; empty where labels are exclusive.
        written: the label that nnU-Net writes for every region, in its order.
        ignore: the label that does not count; None where there is none.

    Example:
        >>> labels = Labels(("whole", "core"), regions=((1, 2), (2,)), written=(1, 2), ignore=None)
        >>> labels.truth(torch.tensor([0, 1, 2])).tolist()
        [[0, 1, 1], [0, 0, 1]]
        >>> labels.written_map(torch.tensor([[0, 1, 1], [0, 0, 1]])).tolist()
        [0, 1, 2]
    """

    names: tuple[str, ...]
    regions: tuple[tuple[int, ...], ...] = ()
    written: tuple[int, ...] = ()
    ignore: int | None = None

    @classmethod
    def of_manager(cls, manager: Any) -> Labels:
        """Of nnU-Net's own label manager."""
        named = {name: value for name, value in manager.label_dict.items() if name != "ignore"}
        ignore = manager.ignore_label
        if not manager.has_regions:
            return cls(tuple(sorted(named, key=lambda name: int(named[name]))), ignore=ignore)
        sets = {name: tuple(int(v) for v in np.atleast_1d(value)) for name, value in named.items()}
        kept = {name: values for name, values in sets.items() if set(values) != {0}}
        return cls(tuple(kept), tuple(kept.values()), tuple(int(c) for c in manager.regions_class_order), ignore)

    @property
    def exclusive(self) -> bool:
        """Whether every voxel has one label; else every region holds or does not."""
        return not self.regions

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of a `SegmentationVictim`."""
        ignored = self.ignore if self.exclusive or self.ignore is None else IGNORED
        return {"activation": "softmax" if self.exclusive else "sigmoid", "ignore_index": ignored, "allow_empty": True}

    def truth(self, label_map: Tensor) -> Tensor:
        """A label map ``(*spatial)`` as the victim takes it: ``(1, *spatial)``, or 0/1 ``(regions, *spatial)``.

        Raises:
            ValueError: if it holds a label that the dataset does not have.
        """
        numbers = label_map.long()
        known = set(range(len(self.names))) if self.exclusive else {0, *(v for region in self.regions for v in region)}
        known |= set() if self.ignore is None else {self.ignore}
        found = set(torch.unique(numbers).tolist())
        if found - known or not torch.equal(numbers.to(label_map.dtype), label_map):
            other = sorted(found - known) or "fractions"
            raise ValueError(f"label must hold labels of the dataset, {sorted(known)}, got {other}.")
        if self.exclusive:
            return numbers[None]
        channels = torch.stack([torch.isin(numbers, torch.tensor(region)) for region in self.regions]).long()
        return channels if self.ignore is None else channels.where(numbers != self.ignore, IGNORED)

    def prediction(self, label_map: Tensor) -> Tensor:
        """A label map that nnU-Net has written: of exclusive labels itself, ``(1, 1, *spatial)``; of regions as logits.

        Logits ``(1, regions, *spatial)`` decide what the map holds.
        """
        return label_map.long()[None, None] if self.exclusive else (self.truth(label_map) * 2 - 1).to(torch.int8)[None]

    def written_map(self, decided: Tensor) -> Tensor:
        """A decision ``(1 or regions, *spatial)`` as the label map that nnU-Net writes of it."""
        if self.exclusive:
            return decided[0]
        label_map = torch.zeros_like(decided[0])
        for region, label in zip(decided, self.written, strict=True):
            label_map = label_map.masked_fill(region > 0, label)
        return label_map
