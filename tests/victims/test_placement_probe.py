"""How placement is probed: blocks at the edge, and the voxels that answer to a change, by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from monai.data import MetaTensor

from monai_smia.victims.placement import _block, _cut, _response


@pytest.mark.parametrize(
    ("place", "cut"), [(3.0, False), (1.4, True), (-1.9, True), (-2.6, False), (9.0, True), (20.0, False)]
)
def test_a_block_is_cut_where_it_lies_astride_the_edge(place: float, cut: bool) -> None:
    """Four voxels wide, of an output of ten: its middle may lie from 1.5 to 7.5, and is gone below -2 and above 11."""
    assert _cut([slice(4, 8)], torch.tensor([place]).double(), torch.eye(2, dtype=torch.double), (10,)) is cut


@pytest.mark.parametrize(
    ("place", "cut"),
    [(-2.001, False), (-2.0, True), (11.0, True), (11.001, False)]
    + [(1.5, False), (1.5 - 1.5e-6, True), (7.5, False), (7.5 + 1.5e-6, True)],
)
def test_where_a_block_is_whole_and_where_nothing_of_it_is_left(place: float, cut: bool) -> None:
    assert _cut([slice(4, 8)], torch.tensor([place]).double(), torch.eye(2, dtype=torch.double), (10,)) is cut


def test_a_block_grows_and_turns_as_its_mapping_says() -> None:
    """Twice as long along the first axis, half as long along the second."""
    mapping, block = torch.diag(torch.tensor([2.0, 0.5, 1.0])).double(), [slice(0, 4), slice(0, 4)]
    for place, cut in (((3.5, 0.5), False), ((3.4, 0.5), True), ((3.5, 0.4), True), ((-4.1, 5.0), False)):
        assert _cut(block, torch.tensor(place).double(), mapping, (10, 10)) is cut
    turned = torch.tensor([[0.0, -2, 0], [0.5, 0, 0], [0, 0, 1]]).double()
    assert _cut(block, torch.tensor([3.5, 0.5]).double(), turned, (10, 10)) is False
    assert _cut(block, torch.tensor([3.4, 0.5]).double(), turned, (10, 10)) is True


@pytest.mark.parametrize(
    ("share", "size", "block"),
    [
        (0.5, 20, (8, 13)),
        (0.5, 12, (4, 9)),
        (0.5, 11, (4, 7)),
        (0.5, 4, (1, 4)),
        (0.5, 3, (1, 2)),
        (0.5, 1, (0, 1)),
        (0.0, 12, (0, 5)),
        (0.99, 12, (7, 12)),
        (0.0, 4, (0, 3)),
        (0.99, 3, (2, 3)),
    ],
)
def test_a_block_has_voxels_beside_its_middle_where_there_is_room(
    share: float, size: int, block: tuple[int, int]
) -> None:
    assert _block((share,), (size,)) == [slice(*block)]


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
