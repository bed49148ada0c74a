"""That a label holds foreground: what is refused, and how little memory it takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import label_of, logits_for
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from monai_smia.victims import SegmentationVictim


def victim(**options: Any) -> SegmentationVictim:
    return SegmentationVictim(nn.Identity(), **options)


class Largest(TorchDispatchMode):
    """Bytes of the largest tensor that is made."""

    size = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        self.size = max(self.size, *(part.nbytes for part in tree_leaves(made) if isinstance(part, Tensor)), 0)
        return made


class TestForeground:
    """A label must hold foreground that counts; to tell takes no more memory than the label."""

    def test_memory(self) -> None:
        prediction = torch.zeros(2, 50, 16, 16)
        label = torch.ones(2, 1, 16, 16, dtype=torch.long)
        with Largest() as largest:
            victim(ignore_index=255).check_label(prediction, label)
        assert 0 < largest.size <= label.nbytes

    @pytest.mark.parametrize(
        ("ignored", "labels", "empty"),
        [
            (None, [[0, 0, 0], [0, 2, 0]], [0]),
            (255, [[0, 255, 0], [1, 255, 0]], [0]),
            (-1, [[-1, 2, -1], [0, -1, 0]], [1]),
            (0, [[0, 0, 1], [0, 2, 0]], []),
            (2, [[0, 2, 2], [2, 0, 1]], [0]),  # a class that does not count is no foreground either
        ],
    )
    def test_classes(self, ignored: int | None, labels: list[list[int]], empty: list[int]) -> None:
        self.check(victim(ignore_index=ignored), logits_for([[0, 0, 0]] * 2), label_of(labels), empty)

    @pytest.mark.parametrize(
        ("ignored", "channels", "empty"),
        [
            (None, [[[0, 0], [0, 0]], [[0, 0], [0, 1]]], [0]),
            (255, [[[255, 0], [0, 255]], [[1, 255], [0, 0]]], [0]),
            (0, [[[0, 1], [0, 0]], [[0, 0], [0, 1]]], []),
        ],
    )
    @pytest.mark.parametrize("dtype", [torch.long, torch.float])
    def test_channels(self, ignored: int | None, channels: Any, empty: list[int], dtype: torch.dtype) -> None:
        label = torch.tensor(channels)[..., None].to(dtype)
        self.check(victim(activation="sigmoid", ignore_index=ignored), torch.zeros(label.shape), label, empty)

    @staticmethod
    def check(victim: SegmentationVictim, prediction: Tensor, label: Tensor, empty: list[int]) -> None:
        if not empty:
            return victim.check_label(prediction, label)
        with pytest.raises(ValueError, match=rf"label must hold foreground, samples \{empty}"):
            victim.check_label(prediction, label)
