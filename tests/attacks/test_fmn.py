from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from helpers import KINDS, case
from torch import Tensor, nn

from monai_smia.attacks import FMN, PGD
from monai_smia.victims import ClassificationVictim


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_comes_near_the_smallest_perturbation_of_a_linear_model(norm: str, dual: int) -> None:
    """Which is the margin over the dual norm of the difference of two weights."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).double()
    image = torch.rand(4, 3, 4, 4, dtype=torch.float64)
    logits = network(image)
    label = logits.argmax(1)
    weight = network[1].weight
    optimum = (logits[:, 0] - logits[:, 1]).abs() / torch.linalg.vector_norm(weight[0] - weight[1], dual)
    attack = FMN(eps=20 * float(optimum.detach().max()), norm=norm, clip=None, steps=100)
    result = attack(ClassificationVictim(network), image, label)
    size = torch.linalg.vector_norm(result.perturbation.flatten(1), float("inf") if norm == "linf" else 2, 1)
    assert result.damage.tolist() == [1, 1, 1, 1]
    assert bool((size >= optimum * (1 - 1e-9)).all())
    assert bool((size <= optimum * 1.05).all())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_is_the_loop_of_the_paper(norm: str) -> None:
    """Written out for one sample after the other: the ball shrinks to the perturbation that crossed, and grows back."""
    c = case("classification", 2, dtype=torch.float64)
    options = {"eps": 0.6 if norm == "linf" else 6.0, "steps": 14, "gamma": 0.3}
    result = FMN(norm=norm, **options)(c.victim, c.image, c.label)
    grown = 0
    for i in range(3):
        expected, radii = by_hand(c.victim, c.image[i : i + 1], c.label[i : i + 1], norm, **options)
        torch.testing.assert_close(result.adversarial[i : i + 1], expected, rtol=1e-9, atol=1e-12)
        grown += sum(later > earlier for earlier, later in itertools.pairwise(radii))
    assert grown


def by_hand(
    victim: ClassificationVictim, image: Tensor, label: Tensor, norm: str, eps: float, steps: int, gamma: float
) -> tuple[Tensor, list[float]]:
    """FMN on one sample, and the radii of its balls."""
    point, best, smallest, radius, radii = image, image, float("inf"), eps, []
    for step in range(steps + 1):
        point = point.detach().requires_grad_(True)
        prediction = victim.predict(point)
        change = (point - image).detach()
        size = float(change.abs().max() if norm == "linf" else change.norm())
        crossed = bool(prediction.argmax(1) != label)
        if crossed and size < smallest:
            best, smallest = point.detach(), size
        decay = (1 + math.cos(math.pi * step / steps)) / 2
        if crossed:
            radius = min(radius, size) * (1 - gamma * decay)
        else:
            radius = min(radius * (1 + gamma * decay), smallest, eps)
        radii.append(radius)
        (g,) = torch.autograd.grad(victim.loss(prediction, label).sum(), point)
        unit = g.sign() if norm == "linf" else g / g.norm()
        moved = point.detach() + radius * max(decay, 0.1) * unit - image
        inside = moved.clamp(-radius, radius) if norm == "linf" else moved * min(radius / float(moved.norm()), 1.0)
        point = (image + inside).clamp(0, 1)
    return best, radii


@pytest.mark.parametrize(("task", "dims"), KINDS)
def test_reaches_the_damage_with_less_than_pgd_needs(task: str, dims: int) -> None:
    """A mask needs no third class; PGD fails at half of the radius that was found."""
    c = case(task, dims, dtype=torch.float64)
    loss = "cross_entropy" if task == "classification" else "soft_jaccard"
    result = FMN(eps=0.5, success=0.4, steps=40, loss=loss)(c.victim, c.image, c.label)
    assert bool((result.damage >= 0.4).all())
    radius = result.perturbation.abs().amax(tuple(range(1, c.image.ndim)))
    torch.testing.assert_close(c.victim.damage(c.victim.predict(result.adversarial), c.label), result.damage)
    weaker = PGD(eps=1.0, steps=30, loss=loss)(c.victim, c.image, c.label, eps=0.5 * radius)
    assert int((weaker.damage < 0.4).sum()) >= 2  # one sample starts a hair from the boundary


def test_more_damage_takes_a_larger_perturbation() -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    sizes = [
        FMN(eps=0.5, success=s, steps=30, loss="soft_jaccard")(c.victim, c.image, c.label)
        .perturbation.abs()
        .amax((1, 2, 3))
        for s in (0.1, 0.2, 0.4)
    ]
    assert bool((sizes[0] < 0.8 * sizes[2]).all())
    assert bool((sizes[1] <= sizes[2]).all())


def test_out_of_reach_it_returns_the_most_damage_within_the_radius() -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    result = FMN(eps=0.01, success=1.0, steps=20)(c.victim, c.image, c.label)
    assert bool((result.damage < 1).all())
    assert bool((result.damage > 0).any())
    assert bool((result.perturbation.abs() <= 0.01 + 1e-12).all())
    assert result.gradients.tolist() == [20, 20, 20]


def test_an_image_that_is_wrong_already_stays() -> None:
    c = case("classification", 2)
    wrong = (c.label + 1) % 3
    assert torch.equal(FMN(eps=0.5, steps=5)(c.victim, c.image, wrong).adversarial, c.image)


@pytest.mark.parametrize(
    ("options", "named"), [({"success": 0}, "success"), ({"steps": 0}, "steps"), ({"gamma": 1}, "gamma")]
)
def test_bad_arguments(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        FMN(eps=0.1, **options)


def test_a_targeted_search_finds_the_nearest_image_of_the_target() -> None:
    c = case("classification", 2, dtype=torch.float64)
    target = (c.label + 1) % 3
    result = FMN(eps=1.0, steps=60, targeted=True)(c.victim, c.image, target)
    with torch.no_grad():
        assert torch.equal(c.victim.decide(c.victim.predict(result.adversarial)), target)
    assert result.damage.tolist() == [0, 0, 0]
    radius = result.perturbation.abs().amax((1, 2, 3))
    smaller = PGD(eps=1.0, steps=60, targeted=True)(c.victim, c.image, target, eps=0.8 * radius)
    assert smaller.damage.tolist() == [1, 1, 1]
