"""Anchors matched with objects by their overlap."""

from __future__ import annotations

import torch

from monai_smia.victims.matching import IoUMatcher

ANCHORS = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8], [16, 0, 24, 8]])


def matches(*boxes: list[float]) -> list[int]:
    return IoUMatcher().compute_matches(torch.tensor(boxes), ANCHORS, [3], 1)[1].clamp_min(-1).tolist()


def test_an_object_that_overlaps_no_anchor_takes_none() -> None:
    assert matches([0, 0, 8, 8], [40, 40, 48, 48]) == [0, -1, -1]
    assert matches([40, 40, 48, 48]) == [-1, -1, -1]


def test_the_nearest_anchor_is_an_objects_however_little_they_overlap() -> None:
    assert matches([15, 0, 17, 8], [0, 0, 8, 8]) == [1, 0, 0]
    assert matches([23, 7, 32, 16]) == [-1, -1, 0]
