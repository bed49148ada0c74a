"""What an algorithm's classes are called, and label maps of files as its channels are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Labels:
    """The classes of an algorithm.

    Args:
        channels: of its network.
        sigmoid: whether every channel is decided by itself.
        regions: the labels of every channel, where channels are regions of labels; empty where they are labels.
        names: of the channels; empty where they have none.

    Example:
        >>> labels = Labels(2, True, regions=((1, 2), (2,)))
        >>> labels.truth(torch.tensor([[0, 1, 2]])).tolist()
        [[0, 1, 1], [0, 0, 1]]
    """

    channels: int
    sigmoid: bool
    regions: tuple[tuple[int, ...], ...] = ()
    names: tuple[str, ...] = ()

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any], *, sigmoid: bool) -> Labels:
        """As the hyperparameters have it.

        Raises:
            ValueError: if they do not say how many classes there are.
        """
        count = settings.get("output_classes")
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"hyper_parameters.yaml must say output_classes, a whole number >= 1, got {count!r}.")
        classes: Any = settings.get("class_names") or []
        index = settings.get("class_index") or [c.get("index") for c in classes if isinstance(c, Mapping)]
        regions = tuple(tuple(int(v) for v in each) for each in index if each is not None) if sigmoid else ()
        names = [str(c.get("name")) if isinstance(c, Mapping) else str(c) for c in classes]
        if not sigmoid and len(names) == count - 1:
            names = ["background", *names]
        return cls(count, sigmoid, regions, tuple(names) if len(names) == count else ())

    @property
    def class_names(self) -> list[str] | None:
        """The channels' names; their numbers where regions have none."""
        if self.names:
            return list(self.names)
        return [str(number) for number in range(self.channels)] if self.sigmoid else None

    def truth(self, label: Tensor) -> Tensor:
        """A label map ``(1, *spatial)``, or one that has the channels already, as the victim takes it.

        Raises:
            ValueError: if it holds anything but the classes.
        """
        numbers = label.long()
        if not torch.equal(numbers.to(label.dtype), label):
            raise ValueError("the label must hold whole numbers, one for each class, got fractions.")
        if self.regions and len(numbers) == 1:
            return torch.cat([torch.isin(numbers, torch.tensor(region)) for region in self.regions]).long()
        if len(numbers) != (self.channels if self.sigmoid else 1):
            wanted = f"{self.channels} channels of 0 and 1" if self.sigmoid else "one channel of class numbers"
            raise ValueError(f"the label must have {wanted}, got {len(numbers)} channels.")
        least, most = int(numbers.min()), int(numbers.max())
        if least < 0 or most >= (2 if self.sigmoid else self.channels):
            ends = 1 if self.sigmoid else self.channels - 1
            raise ValueError(f"the label must hold classes from 0 to {ends}, got {least} to {most}.")
        return numbers


def prediction_of(decided: Tensor, *, sigmoid: bool) -> Tensor:
    """A decision ``(1 or K, *spatial)`` as a judge takes it: a batch of one, of single channels in logits."""
    return (decided * 2 - 1).to(torch.int8)[None] if sigmoid else decided[None]
