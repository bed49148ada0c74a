from __future__ import annotations

import pytest
import torch
from helpers import Case, case
from torch.nn import functional as F

from monai_smia.attacks import PGD, CosPGD, SegPGD
from monai_smia.attacks.iterative import Iterate
from monai_smia.victims import SegmentationVictim


def iterate_of(c: Case, step: int) -> Iterate:
    """An iterate half of whose voxels are wrong."""
    image = c.image.clone().requires_grad_(True)
    label = c.label.clone()
    label[..., :4, :] = (label[..., :4, :] + 1) % 3
    return Iterate(step, c.image, image, label, prediction=c.victim.predict(image))


@pytest.mark.parametrize("step", [0, 3, 9])
@pytest.mark.parametrize("targeted", [False, True])
def test_segpgd_is_the_papers_formula(step: int, targeted: bool) -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    it = iterate_of(c, step)
    weight = step / 20
    loss = F.cross_entropy(it.prediction, it.label[:, 0], reduction="none")
    right = it.prediction.argmax(1) == it.label[:, 0]
    assert 0 < int(right.sum()) < right.numel()
    ours, theirs = (weight, 1 - weight) if targeted else (1 - weight, weight)
    expected = ours * (loss * right).sum((1, 2)) + theirs * (loss * ~right).sum((1, 2))
    got = SegPGD(eps=0.1, steps=10, targeted=targeted).objective(c.victim, it)
    torch.testing.assert_close(got, -expected if targeted else expected)


@pytest.mark.parametrize("targeted", [False, True])
def test_cospgd_is_the_papers_formula(targeted: bool) -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    it = iterate_of(c, 2)
    one_hot = F.one_hot(it.label[:, 0], 3).movedim(-1, 1).double()
    cosine = F.cosine_similarity(it.prediction.softmax(1), one_hot, dim=1).detach()
    loss = F.cross_entropy(it.prediction, it.label[:, 0], reduction="none")
    expected = (-(1 - cosine) * loss if targeted else cosine * loss).sum((1, 2))
    got = CosPGD(eps=0.1, steps=10, targeted=targeted).objective(c.victim, it)
    torch.testing.assert_close(got, expected)
    gradients = [torch.autograd.grad(value.sum(), it.adversarial, retain_graph=True)[0] for value in (got, expected)]
    torch.testing.assert_close(*gradients)  # the cosine is held constant


@pytest.mark.parametrize("attack", [SegPGD, CosPGD])
def test_independent_channels_and_ignored_voxels(attack: type[PGD]) -> None:
    """With one channel a network sees only its own voxel: where the label is ignored, nothing moves."""
    network = torch.nn.Conv2d(1, 2, 1).double()
    victim = SegmentationVictim(network, activation="sigmoid", ignore_index=7)
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    label = torch.ones(1, 2, 8, 8)
    label[..., :3] = 7
    options = {"eps": 0.05, "steps": 3, "random_start": False, "clip": None, "keep": "last"}
    perturbation = attack(**options)(victim, image, label).perturbation
    assert not bool(perturbation[..., :3].any())
    assert bool((perturbation[..., 3:].abs() > 0.01).all())


def test_at_the_first_step_segpgd_follows_the_right_voxels() -> None:
    """And all of them are right: its first step is PGD's."""
    c = case("segmentation", 3, dtype=torch.float64)
    options = {"eps": 0.05, "step_size": 0.05, "steps": 1, "random_start": False, "keep": "last"}
    assert torch.equal(
        SegPGD(**options)(c.victim, c.image, c.label).adversarial,
        PGD(**options)(c.victim, c.image, c.label).adversarial,
    )


@pytest.mark.parametrize("attack", [SegPGD, CosPGD])
def test_the_default_step_is_the_papers(attack: type[PGD]) -> None:
    c, options = case("segmentation", 2, dtype=torch.float64), {"eps": 0.06, "steps": 40}
    plain, third = (attack(**options, **step)(c.victim, c.image, c.label) for step in ({}, {"step_size": 0.02}))
    assert torch.equal(plain.adversarial, third.adversarial)
