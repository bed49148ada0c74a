"""Windows of anyone's choice: values and gradients are those of plain autograd of the same blend, at flat memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from window_helpers import Counting, Net, rand, relative_error

from monai_smia.inferers import MeanNetwork, Tiling, TilingInferer, restrict_gradient


def tiling_of(shape: Sequence[int], window: Sequence[int], *, flat: bool = False, seed: int = 3) -> Tiling:
    """Windows that overlap unevenly and reach every border, with weights that are no product of axes."""
    starts = [sorted({*range(0, s - w, w // 2 + 1), s - w}) for s, w in zip(shape, window, strict=True)]
    starts = [list(range(shape[0])), *starts[1:]] if flat else starts
    places = [
        tuple(slice(a, a + w) for a, w in zip(corner, window, strict=True)) for corner in itertools.product(*starts)
    ]
    weight = torch.rand(*window, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1
    return Tiling(places, weight, flat=flat)


def plain(image: Tensor, tiling: Tiling, mirrorings: Sequence[tuple[int, ...]], members: Sequence[Any]) -> Tensor:
    """The same blend by plain autograd, written down once more: mean over members and mirrorings in every window."""
    total: Any = 0
    count = torch.zeros(image.shape[2:], dtype=image.dtype)
    for place in tiling.places:
        window = image[(slice(None), slice(None), *place)]
        window = window[:, :, 0] if tiling.flat else window
        outputs = []
        for member in members:
            for axes in mirrorings:
                dims = [axis + 2 for axis in axes]
                outputs.append(torch.flip(member(torch.flip(window, dims)), dims))
        mean = torch.stack(outputs).mean(0)
        mean = mean.unsqueeze(2) if tiling.flat else mean
        padding = [
            amount
            for s, size in reversed(list(zip(place, image.shape[2:], strict=True)))
            for amount in (s.start, size - s.stop)
        ]
        total = total + torch.nn.functional.pad(mean * tiling.weight, padding)
        count[place] += tiling.weight
    return total / count


SETTINGS = {
    "2-D": ((11, 9), (5, 6), False, [()], 1),
    "3-D": ((7, 8, 9), (4, 5, 6), False, [()], 1),
    "mirrored": ((7, 8, 9), (4, 5, 6), False, [(), (0,), (1, 2), (0, 1, 2)], 1),
    "two members": ((11, 9), (5, 6), False, [()], 2),
    "mirrored, three members": ((11, 9), (5, 6), False, [(), (0,), (1,), (0, 1)], 3),
    "planes of a volume": ((4, 9, 8), (1, 5, 6), True, [(), (0,), (1,), (0, 1)], 2),
}


@pytest.mark.parametrize("limit", [0, float("inf")])
@pytest.mark.parametrize("name", SETTINGS)
def test_gradient_is_that_of_plain_autograd(name: str, limit: float) -> None:
    shape, window, flat, mirrorings, count = SETTINGS[name]
    tiling, dims = tiling_of(shape, window, flat=flat), 2 if flat else len(shape)
    members = [Net(dims) for _ in range(count)]
    for number, member in enumerate(members):
        member.first.weight.mul_(1 + number)
    network = MeanNetwork(members) if count > 1 else members[0]
    inferer = TilingInferer(lambda _: tiling, mirrorings=mirrorings, memory_limit=limit)
    image = rand(2, 2, *shape)
    ours, theirs = image.clone().requires_grad_(True), image.clone().requires_grad_(True)
    got, expected = inferer(ours, network), plain(theirs, tiling, mirrorings, members)
    assert relative_error(got.detach(), expected.detach()) < 1e-12
    with torch.no_grad():
        assert torch.equal(inferer(image, network), got)
    weights = rand(*got.shape)
    (found,) = torch.autograd.grad((got.square() * weights).sum(), ours)
    (wanted,) = torch.autograd.grad((expected.square() * weights).sum(), theirs)
    assert relative_error(found, wanted) < 1e-12
    assert inferer.memory.held == 0


def test_memory_is_that_of_one_window() -> None:
    """Whatever the number of windows, mirrorings and members, no second graph is alive."""
    peaks = []
    for shape, mirrorings, count in (((6, 6, 6), [()], 1), ((24, 6, 12), [(), (0,), (1,), (0, 2)], 3)):
        tiling, counting = tiling_of(shape, (6, 6, 6)), Counting()
        network = MeanNetwork([counting] * count)
        image = rand(1, 2, *shape).requires_grad_(True)
        TilingInferer(lambda _, found=tiling: found, mirrorings=mirrorings)(image, network).sum().backward()
        peaks.append(counting.peak)
    assert peaks[0] == peaks[1]


def test_a_region_runs_its_windows_alone() -> None:
    tiling, counting = tiling_of((24, 6, 6), (6, 6, 6)), Counting()
    calls: list[int] = []
    counting.register_forward_hook(lambda *_: calls.append(1))
    region = torch.zeros(1, 2, 24, 6, 6, dtype=torch.bool)
    region[:, :, :2] = True
    image = rand(1, 2, 24, 6, 6).requires_grad_(True)
    output = TilingInferer(lambda _: tiling)(restrict_gradient(image, region), counting)
    forward = len(calls)
    output.sum().backward()
    assert forward == len(tiling.places)
    assert len(calls) == forward + sum(place[0].start < 2 for place in tiling.places)
    assert len(calls) < 2 * forward
    assert image.grad is not None
    assert bool(image.grad[:, :, :2].any())


def test_what_it_refuses() -> None:
    tiling, image = tiling_of((8, 8), (5, 5)), rand(1, 2, 8, 8).requires_grad_(True)
    with pytest.raises(ValueError, match="mirrorings must hold at least one"):
        TilingInferer(lambda _: tiling, mirrorings=[])
    with pytest.raises(ValueError, match="parameters must need no gradient"):
        TilingInferer(lambda _: tiling)(image, nn.Conv2d(2, 1, 1).double())
    with pytest.raises(ValueError, match="in train mode"):
        TilingInferer(lambda _: tiling)(image, nn.Dropout())
    with pytest.raises(ValueError, match=r"keep the size of a window, \(5, 5\), got \(4, 4\)"):
        TilingInferer(lambda _: tiling)(image, nn.MaxPool2d(2, 1))
    holes = Tiling(tiling.places[:1], tiling.weight)
    with pytest.raises(ValueError, match=r"windows must cover the image, \(8, 8\)"):
        TilingInferer(lambda _: holes)(image, nn.Identity())


def test_windows_are_asked_for_by_the_spatial_shape() -> None:
    asked = []

    def tiling(shape: Sequence[int]) -> Tiling:
        asked.append(tuple(shape))
        return tiling_of(shape, (4, 4))

    TilingInferer(tiling)(torch.rand(2, 3, 6, 5), torch.nn.Conv2d(3, 2, 1).requires_grad_(False))
    assert asked == [(6, 5)]
