"""Which anchors stand for which objects."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.apps.detection.utils.ATSS_matcher import Matcher
from torch import Tensor


class IoUMatcher(Matcher):
    """RetinaNet's own rule, by fixed thresholds: what MONAI's `set_regular_matcher` takes from torchvision.

    Args:
        foreground: an anchor stands for the object that it overlaps most, from this IoU on.
        background: below this IoU it is background; in between it does not count.
        every_object: an object that no anchor overlaps enough gets those that overlap it most.

    Raises:
        ValueError: unless 0 <= background <= foreground <= 1.

    Example:
        >>> anchors = torch.tensor([[0.0, 0, 8, 8], [0, 0, 8, 18], [0, 0, 8, 40]])
        >>> IoUMatcher()(torch.tensor([[0.0, 0, 8, 8]]), anchors, [3], 1)[1].tolist()
        [0, -2, -1]
    """

    def __init__(self, foreground: float = 0.5, background: float = 0.4, *, every_object: bool = True) -> None:
        super().__init__()
        if not 0 <= background <= foreground <= 1:
            raise ValueError(
                f"thresholds must satisfy 0 <= background <= foreground <= 1, got {background} and {foreground}."
            )
        self.foreground = foreground
        self.background = background
        self.every_object = every_object

    def compute_matches(
        self, boxes: Tensor, anchors: Tensor, num_anchors_per_level: Sequence[int], num_anchors_per_loc: int
    ) -> tuple[Tensor, Tensor]:
        """IoU ``(N, A)`` and the object of every anchor ``(A,)``, negative for none."""
        overlap = torch.as_tensor(self.similarity_fn(boxes, anchors))
        best, matches = overlap.max(0)
        nearest = matches.clone()
        matches[best < self.foreground] = self.BETWEEN_THRESHOLDS
        matches[best < self.background] = self.BELOW_LOW_THRESHOLD
        if self.every_object:
            closest = overlap.amax(1, keepdim=True)
            kept = ((overlap == closest) & (closest > 0)).any(0)
            matches[kept] = nearest[kept]
        return overlap, matches
