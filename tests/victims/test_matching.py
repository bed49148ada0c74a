"""Anchors matched with objects by their overlap."""

from __future__ import annotations

import pytest
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


def test_from_which_overlap_on_an_anchor_stands_for_an_object() -> None:
    """Of half an anchor's overlap it stands for it, of two fifths it does not count, below it is background."""
    matcher = IoUMatcher(every_object=False)
    for height, expected in ((8, 0), (4.0, 0), (3.99, -2), (3.2001, -2), (3.19, -1)):
        box = torch.tensor([[0.0, 0, 8, height]])
        assert matcher.compute_matches(box, ANCHORS[:1], [1], 1)[1].tolist() == [expected], height
    own = IoUMatcher(0.7, 0.7, every_object=False)
    assert own.compute_matches(torch.tensor([[0.0, 0, 8, 5]]), ANCHORS[:1], [1], 1)[1].tolist() == [-1]
    assert IoUMatcher().compute_matches(torch.tensor([[0.0, 0, 8, 1]]), ANCHORS[:1], [1], 1)[1].tolist() == [0]
    overlap = matcher.compute_matches(torch.tensor([[0.0, 0, 8, 4]]), ANCHORS, [3], 1)[0]
    assert overlap.tolist() == [[0.5, 0.0, 0.0]]


@pytest.mark.parametrize(("foreground", "background"), [(0.4, 0.5), (1.1, 0.5), (0.5, -0.1)])
def test_thresholds_that_contradict_each_other(foreground: float, background: float) -> None:
    with pytest.raises(ValueError, match="thresholds must satisfy 0 <= background <= foreground <= 1"):
        IoUMatcher(foreground, background)


def test_thresholds_at_their_ends() -> None:
    assert (IoUMatcher(1, 0).foreground, IoUMatcher(0.5, 0.5).background, IoUMatcher(0, 0).every_object) == (
        1,
        0.5,
        True,
    )
