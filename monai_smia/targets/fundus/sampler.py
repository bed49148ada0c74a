"""Which photographs a grader sees how often while it is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import WeightedRandomSampler

__all__ = ["GradeSampler", "grade_weights"]


class GradeSampler(WeightedRandomSampler):
    """Draws with `grade_weights`, with a share of painted eyes that changes from epoch to epoch.

    Lesions that were painted in are many and known to the pixel, photographs are few: the first teach where to look,
    the last what a clinic calls which grade.

    Args:
        items: as for `grade_weights`.
        draws: how many in an epoch, with replacement.
        painted_share: of every epoch, in [0, 1]; the last one holds on.

    Raises:
        ValueError: if there is no share, or one does not fit, see `grade_weights`.

    Example:
        >>> sampler = GradeSampler([{"label": 2}, {"label": 0, "paint": True}], 3, painted_share=[1.0, 0.0])
        >>> list(sampler), list(sampler), list(sampler)
        ([1, 1, 1], [0, 0, 0], [0, 0, 0])
    """

    def __init__(self, items: Sequence[Mapping[str, Any]], draws: int, *, painted_share: Sequence[float]) -> None:
        if not len(painted_share):
            raise ValueError("painted_share must hold the share of at least one epoch, got none.")
        self.schedule = [grade_weights(items, painted_share=float(share)) for share in painted_share]
        self.epoch = 0
        super().__init__(self.schedule[0], draws)

    def __iter__(self) -> Iterator[int]:
        """The items of the next epoch."""
        self.weights = torch.tensor(self.schedule[min(self.epoch, len(self.schedule) - 1)], dtype=torch.float64)
        self.epoch += 1
        return super().__iter__()


def grade_weights(items: Sequence[Mapping[str, Any]], *, painted_share: float = 0.0) -> list[float]:
    """How often to draw each item: photographs by one over the root of how many share their grade, painted ones alike.

    The root stands between the classes as they are and a full balance, in which the few eyes of grade 1 would be
    learned by heart.

    Args:
        items: as from `fundus_datalist`; those with a true ``"paint"`` are healthy eyes that lesions are drawn into.
        painted_share: share of the draws that is painted, in [0, 1].

    Raises:
        ValueError: if the share is outside of its range, or demands what is not there.

    Example:
        >>> grade_weights([{"label": 0}] * 4 + [{"label": 1}])  # together one: 2/3 of the draws are of grade 0
        [0.16666666666666666, 0.16666666666666666, 0.16666666666666666, 0.16666666666666666, 0.3333333333333333]
    """
    painted = np.array([bool(item.get("paint")) for item in items])
    if not 0 <= painted_share <= 1:
        raise ValueError(f"painted_share must lie in [0, 1], got {painted_share}.")
    if (painted_share > 0 and not painted.any()) or (painted_share < 1 and painted.all()):
        raise ValueError(
            f"painted_share={painted_share} does not fit: {int(painted.sum())} of {len(items)} are painted."
        )
    grades = np.array([int(item["label"]) for item in items])
    counts = np.bincount(grades[~painted], minlength=int(grades.max()) + 1)
    weights = np.where(painted, 1.0, 1 / np.sqrt(counts[grades].clip(1)))
    for group, share in ((painted, painted_share), (~painted, 1 - painted_share)):
        if group.any():
            weights[group] *= share / weights[group].sum()
    return [float(weight) for weight in weights]
