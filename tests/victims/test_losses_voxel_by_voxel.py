"""Losses of segmenters once more, voxel by voxel in plain Python: both activations, with ignored labels and without."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_smia.victims import SegmentationVictim
from monai_smia.victims.structure_loss import StructureLoss
from monai_smia.victims.volume_loss import VolumeLoss
from monai_smia.victims.voxel_losses import agreement

IGNORED = 9
KINDS = [(activation, ignore) for activation in ("softmax", "sigmoid") for ignore in (None, IGNORED)]


def batch(activation: str, ignore: int | None, seed: int) -> tuple[Tensor, Tensor]:
    """Logits ``(3, 3, 2, 4)`` and a label whose last sample has no foreground."""
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, 3, 2, 4, generator=draw, dtype=torch.float64)
    high, channels = (3, 1) if activation == "softmax" else (2, 3)
    label = torch.randint(0, high, (3, channels, 2, 4), generator=draw)
    label[2] = 0
    if ignore is not None:
        label[torch.rand(label.shape, generator=draw) < 0.3] = ignore
    return logits, label


class Voxels:
    """A sample as lists: of every voxel (and channel where these are independent) probabilities, label, logits."""

    def __init__(self, activation: str, logits: Tensor, label: Tensor, ignore: int | None) -> None:
        self.exclusive = activation == "softmax"
        self.items: list[tuple[list[float], list[float], int, int]] = []  # logits, probabilities, label, channel
        for voxel in range(8):
            row = [float(v) for v in logits.reshape(3, 8)[:, voxel]]
            if self.exclusive:
                total = sum(map(math.exp, row))
                p = [math.exp(v) / total for v in row]
                self.items.append((row, p, int(label.reshape(-1)[voxel]), 0))
            else:
                for channel, z in enumerate(row):
                    p1 = 1 / (1 + math.exp(-z))
                    self.items.append(([0.0, z], [1 - p1, p1], int(label.reshape(3, 8)[channel, voxel]), channel))
        self.all_voxels = len(self.items)
        self.items = [item for item in self.items if item[2] != ignore]

    def right(self, item: tuple[list[float], list[float], int, int]) -> bool:
        return max(range(len(item[0])), key=item[0].__getitem__) == item[2]

    @property
    def classes(self) -> range:
        """Foreground classes, or channels."""
        return range(1, 3) if self.exclusive else range(3)

    def of_class(self, number: int) -> list[tuple[float, bool, bool]]:
        """Probability, truth and decision of a class, voxel by voxel."""
        if self.exclusive:
            return [(p[number], y == number, max(range(3), key=z.__getitem__) == number) for z, p, y, _ in self.items]
        return [(p[1], y == 1, z[1] > 0) for z, p, y, c in self.items if c == number]


def soft_jaccard(v: Voxels) -> float:
    count = len(v.items) if v.exclusive else len(v.items) / 3
    scores, invented = [], []
    for number in v.classes:
        told = v.of_class(number)
        both = sum(p for p, y, _ in told if y)
        union = sum(1 if y else p for p, y, _ in told)
        invented.append(sum(p for p, _, _ in told))
        if any(y for _, y, _ in told):
            scores.append(both / union)
    return count * (1 - sum(scores) / len(scores)) if scores else sum(invented) / len(invented)


def cross_entropy(v: Voxels) -> float:
    return sum(-math.log(p[y]) for _, p, y, _ in v.items)


def masked(v: Voxels) -> float:
    return sum(-math.log(item[1][item[2]]) for item in v.items if v.right(item))


def balanced(v: Voxels) -> float:
    total = 0.0
    groups = [0] if v.exclusive else range(3)
    for channel in groups:
        mine = [item for item in v.items if item[3] == channel]
        classes = 3 if v.exclusive else 2
        for item in mine:
            if v.right(item):
                size = sum(other[2] == item[2] for other in mine)
                total += -math.log(item[1][item[2]]) * len(mine) / (classes * size)
    return total


def jensen_shannon(v: Voxels) -> float:
    total = 0.0
    for _, p, y, _ in v.items:
        for k, value in enumerate(p):
            truth, mean = float(k == y), (value + (k == y)) / 2
            total += sum(0.5 * a * math.log(a / mean) for a in (value, truth) if a > 0)
    return total


def margin(v: Voxels) -> float:
    total = 0.0
    for item in v.items:
        z, _, y, _ = item
        wrong = max(value for k, value in enumerate(z) if k != y)
        total += min(wrong - z[y], 0.0)
    return total


LOSSES = {
    "soft_jaccard": soft_jaccard,
    "cross_entropy": cross_entropy,
    "masked_cross_entropy": masked,
    "balanced_cross_entropy": balanced,
    "jensen_shannon": jensen_shannon,
    "margin": margin,
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("activation", "ignore"), KINDS)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_the_sum_over_voxels(name: str, activation: str, ignore: int | None, seed: int) -> None:
    logits, label = batch(activation, ignore, seed)
    victim = SegmentationVictim(nn.Identity(), activation=activation, ignore_index=ignore, loss=name, allow_empty=True)
    expected = [LOSSES[name](Voxels(activation, z, y, ignore)) for z, y in zip(logits, label, strict=True)]
    assert victim.loss(logits, label).tolist() == pytest.approx(expected, rel=1e-9)
    alone = [float(victim.loss(logits[i : i + 1], label[i : i + 1])) for i in range(3)]
    assert alone == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("activation", "ignore"), KINDS)
def test_damage_and_goals_are_counted_voxel_by_voxel(activation: str, ignore: int | None, seed: int) -> None:
    logits, label = batch(activation, ignore, seed)
    options: dict[str, Any] = {"activation": activation, "ignore_index": ignore, "allow_empty": True}
    victim = SegmentationVictim(nn.Identity(), **options)
    samples = [Voxels(activation, z, y, ignore) for z, y in zip(logits, label, strict=True)]

    def overlap(told: list[tuple[float, bool, bool]]) -> float | None:
        union = sum(y or d for _, y, d in told)
        return sum(y and d for _, y, d in told) / union if union else None

    for damage, v in zip(victim.damage(logits, label).tolist(), samples, strict=True):
        known = [score for number in v.classes if (score := overlap(v.of_class(number))) is not None]
        assert damage == pytest.approx(1 - sum(known) / len(known) if known else 0.0)
    for number in samples[0].classes:
        chosen = victim.with_loss(StructureLoss(number))
        expected = [1 - score if (score := overlap(v.of_class(number))) is not None else 0.0 for v in samples]
        assert chosen.damage(logits, label).tolist() == pytest.approx(expected)
    for structure in (None, *samples[0].classes):
        numbers = samples[0].classes if structure is None else [structure]
        for way in ("down", "up"):
            goal = victim.with_loss(VolumeLoss(way, structure))
            soft, hard = [], []
            for v in samples:
                told = [entry for number in numbers for entry in v.of_class(number)]
                sign = 1 if way == "up" else -1
                soft.append(sign * sum(p for p, _, _ in told))
                truth, decided = sum(y for _, y, _ in told), sum(d for _, _, d in told)
                total = len(v.items) if v.exclusive else len(told)
                share = (
                    (truth - decided) / max(truth, 1) if way == "down" else (decided - truth) / max(total - truth, 1)
                )
                hard.append(min(max(share, 0.0), 1.0))
            assert goal.loss(logits, label).tolist() == pytest.approx(soft)
            assert goal.damage(logits, label).tolist() == pytest.approx(hard)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("activation", "ignore"), KINDS)
def test_the_loss_of_one_structure(activation: str, ignore: int | None, seed: int) -> None:
    logits, label = batch(activation, ignore, seed)
    victim = SegmentationVictim(nn.Identity(), activation=activation, ignore_index=ignore, allow_empty=True)
    for number in (1, 2):
        expected = []
        for z, y in zip(logits, label, strict=True):
            told = Voxels(activation, z, y, ignore).of_class(number)
            both, union = sum(p for p, t, _ in told if t), sum(1 if t else p for p, t, _ in told)
            mean = sum(p for p, _, _ in told) / 8
            expected.append(8 * (1 - both / union if any(t for _, t, _ in told) else mean))
        assert victim.with_loss(StructureLoss(number)).loss(logits, label).tolist() == pytest.approx(expected)


def test_structures_that_are_none() -> None:
    logits = torch.randn(1, 3, 4)
    for activation, good, bad in (("softmax", (1, 2), (0, 3, -1)), ("sigmoid", (0, 1, 2), (3, -1))):
        victim = SegmentationVictim(nn.Identity(), activation=activation)
        label = torch.ones(1, 1 if activation == "softmax" else 3, 4, dtype=torch.long)
        for number in good:
            for loss in (StructureLoss(number), VolumeLoss("up", number)):
                assert victim.with_loss(loss).loss(logits, label).shape == (1,)
        for number in bad:
            for loss in (StructureLoss(number), VolumeLoss("up", number)):
                with pytest.raises(ValueError, match=f"structure must lie from {good[0]} to 2, got {number}"):
                    victim.with_loss(loss).loss(logits, label)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_agreement_is_the_cosine_with_the_label(activation: str) -> None:
    logits, label = batch(activation, None, 0)
    victim = SegmentationVictim(nn.Identity(), activation=activation)
    found = agreement(victim.output, logits, victim.target(label))
    for z, y, cosines in zip(logits, label, found, strict=True):
        told = Voxels(activation, z, y, None).items
        expected = [p[t] / math.sqrt(sum(v * v for v in p)) for _, p, t, _ in told]
        cosines = cosines.flatten() if activation == "softmax" else cosines.reshape(3, 8).T.flatten()
        assert cosines.tolist() == pytest.approx(expected)
