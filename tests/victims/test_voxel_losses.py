"""The losses of segmentation attacks against their formulas, written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_smia.victims import SegmentationVictim

LOSSES = ("masked_cross_entropy", "balanced_cross_entropy", "jensen_shannon", "margin")


def drawn(classes: int = 3, ignored: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, classes, 6, 5, 4, generator=generator, dtype=torch.float64)
    label = torch.randint(0, classes, (2, 1, 6, 5, 4), generator=generator)
    if ignored:
        label[..., 0] = 9
    return logits, label


def loss_of(name: str, logits: Tensor, label: Tensor, **options: object) -> Tensor:
    return SegmentationVictim(nn.Identity(), loss=name, **options).loss(logits, label)


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p.clamp_min(1e-300) / q).log()).sum(1)


def test_masked_cross_entropy() -> None:
    logits, label = drawn()
    loss = F.cross_entropy(logits, label[:, 0], reduction="none")
    expected = (loss * (logits.argmax(1) == label[:, 0])).flatten(1).sum(1)
    torch.testing.assert_close(loss_of("masked_cross_entropy", logits, label), expected)


def test_balanced_cross_entropy_gives_every_class_the_same_weight() -> None:
    logits, label = drawn(classes=2)
    label[:] = 0
    label[..., 0, 0] = 1
    loss = F.cross_entropy(logits, label[:, 0], reduction="none")
    right = logits.argmax(1) == label[:, 0]
    expected = torch.zeros(2, dtype=torch.float64)
    for sample in range(2):
        for value in (0, 1):
            held = label[sample, 0] == value
            expected[sample] += (loss * right)[sample][held].sum() / held.sum() * held.numel() / 2
    torch.testing.assert_close(loss_of("balanced_cross_entropy", logits, label), expected)


def test_jensen_shannon_is_that_of_the_distributions() -> None:
    logits, label = drawn()
    p = logits.softmax(1)
    q = F.one_hot(label[:, 0], 3).movedim(-1, 1).double()
    middle = (p + q) / 2
    expected = (0.5 * kl(p, middle) + 0.5 * kl(q, middle)).flatten(1).sum(1)
    torch.testing.assert_close(loss_of("jensen_shannon", logits, label), expected)


def test_jensen_shannon_is_bounded_and_has_a_finite_gradient_where_all_is_lost() -> None:
    logits = torch.tensor([[[[-200.0, 0.0]], [[200.0, 0.0]]]], requires_grad=True)
    label = torch.zeros(1, 1, 1, 2, dtype=torch.long)
    loss = loss_of("jensen_shannon", logits, label)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert float(loss) <= 2 * math.log(2)
    assert bool(gradient.isfinite().all())
    assert float(gradient[..., 0].abs().max()) < 1e-6 < float(gradient[..., 1].abs().max())


def test_margin_of_the_voxels_still_right() -> None:
    logits, label = drawn()
    truth = logits.gather(1, label)[:, 0]
    wrong = logits.scatter(1, label, -torch.inf).amax(1)
    torch.testing.assert_close(loss_of("margin", logits, label), (wrong - truth).clamp_max(0).flatten(1).sum(1))


@pytest.mark.parametrize("name", LOSSES)
def test_one_sigmoid_channel_is_two_softmax_channels(name: str) -> None:
    """Of logits 0 and z; labels are 0 and 1 either way."""
    logits, label = drawn(classes=1)
    label = (logits > 1).long()
    two = torch.cat([torch.zeros_like(logits), logits], 1)
    one = loss_of(name, logits, label, activation="sigmoid")
    torch.testing.assert_close(one, loss_of(name, two, label))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_ignored_voxels_do_not_count(name: str, activation: str) -> None:
    logits, label = drawn(ignored=True)
    if activation == "sigmoid":
        label = torch.where(label == 9, 9, label % 2).expand(-1, 3, -1, -1, -1)
    options = {"activation": activation, "ignore_index": 9}
    inside = (..., slice(1, None))
    expected = loss_of(name, logits[inside], label[inside], activation=activation)
    got = loss_of(name, logits, label, **options)
    torch.testing.assert_close(got, expected)
    logits.requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss_of(name, logits, label, **options).sum(), logits)
    assert not bool(gradient[..., 0].any())
    assert bool(gradient[inside].any())


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str) -> None:
    logits, label = drawn()
    logits = logits[..., :1, :1].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda z: loss_of(name, z, label[..., :1, :1]), logits)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
class TestSharpJaccard:
    @staticmethod
    def drawn_for(activation: str) -> tuple[Tensor, Tensor]:
        logits, label = drawn()
        return logits, label if activation == "softmax" else (label + torch.arange(3).view(1, 3, 1, 1, 1)) % 2

    def test_it_is_the_same_however_the_network_scales_its_logits(self, activation: str) -> None:
        logits, label = self.drawn_for(activation)
        values = [loss_of("sharp_jaccard", logits * s, label, activation=activation) for s in (1e-3, 1.0, 1e4)]
        torch.testing.assert_close(values[0], values[1])
        torch.testing.assert_close(values[2], values[1])

    def test_it_lies_near_the_jaccard_index_of_the_decision(self, activation: str) -> None:
        logits, label = self.drawn_for(activation)
        victim = SegmentationVictim(nn.Identity(), activation=activation)
        logits = logits / 10  # of a network that is sure of nothing
        truth = victim.damage(logits, label)
        sharp, soft = (
            loss_of(name, logits, label, activation=activation) / logits[0, 0].numel()
            for name in ("sharp_jaccard", "soft_jaccard")
        )
        assert bool(((sharp - truth).abs() < 0.01).all()), (sharp, soft, truth)
        assert bool(((soft - truth).abs() > 2 * (sharp - truth).abs()).all()), (sharp, soft, truth)

    def test_its_gradient_is_that_of_voxels_about_to_turn(self, activation: str) -> None:
        logits, label = self.drawn_for(activation)
        logits.requires_grad_()
        (gradient,) = torch.autograd.grad(loss_of("sharp_jaccard", logits, label, activation=activation).sum(), logits)
        victim = SegmentationVictim(nn.Identity(), activation=activation)
        margin = victim.output.voxel_margin(logits, victim.output.decide(logits)).abs()
        size = gradient.abs().sum(1) if activation == "softmax" else gradient.abs()
        near, far = margin < 0.1 * margin.mean(), margin > margin.mean()
        assert float(size[near].mean()) > 1000 * float(size[far].mean()) > 0 or float(size[far].mean()) == 0


def test_sharp_jaccard_of_logits_that_are_all_alike_is_finite() -> None:
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    loss = loss_of("sharp_jaccard", logits, (torch.arange(16) % 2).view(1, 1, 4, 4))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert bool(loss.isfinite().all())
    assert bool(gradient.isfinite().all())
