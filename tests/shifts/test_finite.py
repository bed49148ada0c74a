"""Finite sets of shifts: every one of them is tried, voxel for voxel what a plain loop makes of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from monai_smia.attacks import TryAll
from monai_smia.shifts import FINITE, Flip, RigidMotion, ShiftChain, SlicePhase, WindowSetting, moved_label
from monai_smia.shifts.labels import moved_boxes
from monai_smia.victims import SegmentationVictim

SHAPE = (7, 5, 12)
Map = Callable[[np.ndarray, tuple[float, ...]], np.ndarray]


class Threshold(nn.Module):
    """Foreground above -500 HU where the neighbors are, too."""

    def forward(self, image: Tensor) -> Tensor:
        score = (nn.functional.avg_pool3d(image, 3, 1, 1, count_include_pad=False) + 500) / 100
        return torch.cat([-score, score], 1)


def decided(image: np.ndarray) -> np.ndarray:
    """The same, voxel by voxel."""
    found = np.zeros(image.shape, bool)
    for at in np.ndindex(*image.shape):
        found[at] = image[tuple(slice(max(i - 1, 0), i + 2) for i in at)].mean() > -500
    return found


def slabs(image: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
    count, phase = (int(value) for value in values)
    found = image.copy()
    first = phase % count - count if phase % count else 0
    for start in range(first, image.shape[-1], count):
        part = slice(max(start, 0), min(start + count, image.shape[-1]))
        found[..., part] = image[..., part].mean(-1, keepdims=True)
    return image + np.round(found - image)


def window(image: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
    level, width = -300 + values[0], 1400 + values[1]
    share = (image - (level - width / 2)) / width
    return image + np.round(-1000 + share * 1400 - image)


def flipped(image: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
    return np.flip(image, [axis for axis, switch in enumerate(values) if switch])


PLAIN: dict[str, Map] = {
    "HUOffset": lambda image, values: image + values[0],
    "StoredCalibration": lambda image, values: image + np.round(image * (values[1] / 100) + values[0]),
    "WindowSetting": window,
    "SlicePhase": slabs,
    "Flip": flipped,
}
VALUES: dict[str, list[list[float]]] = {  # of severity 2
    "HUOffset": [list(range(-7, 8))],
    "StoredCalibration": [list(range(-6, 7, 2)), [-1.0, -0.5, 0.0, 0.5, 1.0]],
    "WindowSetting": [list(range(-10, 11, 5)), list(range(-20, 21, 10))],
    "SlicePhase": [[1, 2, 3], [0, 1, 2]],
    "Flip": [[0, 1]] * 3,
}


@pytest.mark.parametrize("name", FINITE)
def test_every_value_is_a_plain_loop_voxel_for_voxel(name: str) -> None:
    kind, lattice = FINITE[name]
    image = torch.randint(-900, -100, (1, 1, *SHAPE), generator=torch.Generator().manual_seed(0)).double()
    label = torch.as_tensor(decided(image[0, 0].numpy()))[None, None].long()
    options: dict[str, Any] = {"whole": True} if name == "SlicePhase" else {}
    seen: list[Tensor] = []

    def judge(shown: Tensor, moved: Tensor, values: Tensor) -> float:
        seen.append(shown)
        return float(victim.damage(victim.infer(shown), moved)[0])

    victim = SegmentationVictim(Threshold())
    result = TryAll(kind(severity=2, **options), lattice=lattice, clip=None, judge=judge)(victim, image, label)
    points = list(itertools.product(*VALUES[name]))
    assert len(seen) == len(points)
    assert result.tried[:, 0].tolist() == [pytest.approx(point) for point in points]
    damages = []
    for number, point in enumerate(points):
        expected = PLAIN[name](image[0, 0].numpy(), point)
        assert np.array_equal(seen[number][0, 0].numpy(), expected), point
        truth = label[0, 0].numpy() > 0
        truth = flipped(truth, point) if name == "Flip" else truth
        ours = decided(expected)
        damages.append(1 - (ours & truth).sum() / (ours | truth).sum())
        decision = victim.decide(victim.infer(seen[number]))[0, 0].numpy() > 0
        assert np.array_equal(decision, ours), point
    assert result.tried_damage[:, 0].tolist() == pytest.approx(damages, abs=1e-6)
    assert float(result.damage) == pytest.approx(max(damages), abs=1e-6)
    assert max(damages) > 0.02 or name == "Flip"  # this network does not know left from right
    worst = points[int(np.argmax(damages))]
    if name != "Flip":
        assert np.array_equal(result.adversarial[0, 0].numpy(), PLAIN[name](image[0, 0].numpy(), worst))


def test_nothing_happens_at_the_neutral_values() -> None:
    image = torch.randn(2, 1, *SHAPE) * 100
    for kind, _ in FINITE.values():
        assert torch.equal(kind()(image, kind().neutral(3), spacing=(1, 1, 1)), image)
    assert FINITE.keys() == VALUES.keys()


def test_a_window_reads_gray_levels_as_those_of_another_one() -> None:
    """A picture of eight bits made with the window that was set, and read with the one that was meant."""
    shift = WindowSetting(window=(-160, 240))
    image = torch.arange(-160.0, 241.0).view(1, 1, -1, 1)
    shifted = shift(image, [30.0, 40.0])[0, 0, :, 0]
    low, high = 40 + 30 - 220, 40 + 30 + 220
    levels = ((image.flatten() - low) / (high - low)).clamp(0, 1)
    inside = (levels > 0) & (levels < 1)
    assert torch.equal(shifted[inside], (levels * 400 - 160)[inside].round())


@pytest.mark.parametrize(("low", "high"), [(0.0, 160.0), (5.0, 5.0)])
def test_a_window_that_is_none_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="window must be"):
        WindowSetting(window=(low, high))


def test_phases_of_a_slab_are_as_many_as_its_slices() -> None:
    volume = torch.randn(1, 1, 2, 2, 12)
    for count in (2, 3):
        found = [SlicePhase()(volume, [float(count), float(phase)]) for phase in range(count + 1)]
        assert not torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[count])


def test_boxes_are_where_flipped_objects_are() -> None:
    """Corner by corner; the fixed point that other shifts have is none for a flip."""
    image = torch.zeros(1, 1, 20, 30)
    image[..., 3:8, 4:15] = 1
    boxes = torch.tensor([[3.0, 4.0, 8.0, 15.0]])
    motion = RigidMotion(lengths="%")
    chain = ShiftChain(shifts=(Flip(lengths="%"), motion))
    for shift, values in ((Flip(), [1.0, 0.0]), (Flip(), [1.0, 1.0]), (chain, [1.0, 1.0, 0.0, 10.0, -5.0])):
        shown = shift(image, values)[0, 0]
        rows, columns = (shown.amax(1 - axis).nonzero() for axis in (0, 1))
        there = [float(rows.min()), float(columns.min()), float(rows.max()) + 1, float(columns.max()) + 1]
        grid = shift.grid(image)
        found = moved_boxes(shift, boxes, torch.tensor([values]), grid)
        assert found[0].tolist() == pytest.approx(there, abs=1e-4)
        label = moved_label(shift, [{"boxes": boxes, "labels": torch.tensor([1])}], torch.tensor([values]), grid)
        assert torch.equal(label[0]["boxes"], found)
