"""How placement is probed: blocks at the edge, and the voxels that answer to a change, by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from monai.data import MetaTensor

from monai_smia.victims.placement import _cut, _response


@pytest.mark.parametrize(
    ("place", "cut"), [(3.0, False), (1.4, True), (-1.9, True), (-2.6, False), (9.0, True), (20.0, False)]
)
def test_a_block_is_cut_where_it_lies_astride_the_edge(place: float, cut: bool) -> None:
    """Four voxels wide, of an output of ten: its middle may lie from 1.5 to 7.5, and is gone below -2 and above 11."""
    assert _cut([slice(4, 8)], torch.tensor([place]).double(), torch.eye(2, dtype=torch.double), (10,)) is cut


def test_the_middle_of_what_answers_counts_a_quarter_of_the_strongest() -> None:
    before = MetaTensor(torch.zeros(1, 12, 12, 12))

    def twofold(share: float) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda image: image + share * torch.roll(image, 4, 1)

    block = [slice(4, 5)] * 3
    for share, middle in ((0.0, 4.0), (0.2, 4.0), (0.3, 6.0), (1.0, 6.0)):
        found = _response(before, before, twofold(share), block)
        assert found is not None
        assert found.tolist() == [middle, 4.0, 4.0]


@pytest.mark.parametrize("size", [1.0, -1.0, 0.125, -0.125])
def test_changes_of_either_sign_large_and_small_are_tried(size: float) -> None:
    """A step that answers to one of them alone, as one that clips at both ends does."""
    before = MetaTensor(torch.zeros(1, 12, 12, 12))
    found = _response(before, before, lambda image: image * (image == size), [slice(4, 5)] * 3)
    assert found is not None
    assert found.tolist() == [4.0, 4.0, 4.0]
