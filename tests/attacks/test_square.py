from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import KINDS, case
from monai.transforms import Compose, Lambda
from torch import Tensor, nn

from monai_smia.attacks import PGD, Ensemble, Square
from monai_smia.victims import Victim


class Forbidden(torch.autograd.Function):
    """Raises where anybody asks for a gradient."""

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        return image.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise RuntimeError("no gradient here")


class NoGradient(nn.Module):
    """Refuses to be run with gradients enabled, too."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError("no graph here")
        return self.network(Forbidden.apply(image))


def hidden(victim: Victim) -> Victim:
    victim.network = NoGradient(victim.network)
    return victim


@pytest.mark.parametrize(("task", "dims"), KINDS)
def test_needs_no_gradient_and_does_damage(task: str, dims: int) -> None:
    c = case(task, dims)
    victim = hidden(c.victim)
    with pytest.raises(RuntimeError, match="no graph here"):
        PGD(eps=0.3)(victim, c.image, c.label)
    result = Square(eps=0.3, queries=100)(victim, c.image, c.label)
    assert bool((result.damage > 0.2).all())
    assert bool((result.perturbation.abs() <= 0.3 + 1e-6).all())
    assert result.gradients.tolist() == [0, 0, 0]


def test_preprocessing_may_block_the_gradient() -> None:
    c = case("segmentation", 2)
    c.victim.preprocessing = Compose([Lambda(lambda image: image.detach())])
    with pytest.raises(ValueError, match="blocks the gradient"):
        PGD(eps=0.3)(c.victim, c.image, c.label)
    assert bool((Square(eps=0.3, queries=100)(c.victim, c.image, c.label).damage > 0.1).all())


@pytest.mark.parametrize("dims", [2, 3])
def test_more_queries_are_never_worse_and_the_history_is_theirs(dims: int) -> None:
    c = case("segmentation", dims, dtype=torch.float64)
    few, many = (Square(eps=0.1, queries=n)(c.victim, c.image, c.label) for n in (20, 100))
    assert few.loss_history.shape == (21, 3)
    assert bool((many.damage >= few.damage).all())
    assert bool((many.damage > few.damage).any())
    torch.testing.assert_close(c.victim.damage(c.victim.predict(many.adversarial), c.label), many.damage)


def test_squares_shrink() -> None:
    attack, shape = Square(eps=0.1, queries=1000, p=0.8), torch.Size([50, 50])
    sides = [attack.side(query, shape) for query in range(2, 1001)]
    assert sides == sorted(sides, reverse=True)
    assert sides[0] == pytest.approx((0.8 * 0.5 * 2500) ** 0.5, abs=15)
    assert sides[-1] <= 5
    assert attack.side(2, torch.Size([20, 3])) == 3  # no longer than the image


@pytest.mark.parametrize(("task", "dims"), KINDS)
def test_weaker_than_the_white_box_ensemble_on_a_sound_victim(task: str, dims: int) -> None:
    """Its losses include soft Jaccard: PGD with cross entropy alone does less Jaccard damage here than Square."""
    c = case(task, dims, dtype=torch.float64)
    losses = [None, "soft_jaccard"] if task == "segmentation" else [None]
    ensemble = Ensemble(attacks=[PGD(eps=0.05, steps=20, loss=loss) for loss in losses])
    damages = [Square(eps=0.05, queries=100, seed=seed)(c.victim, c.image, c.label).damage for seed in range(10)]
    assert float(torch.stack(damages).mean()) < float(ensemble(c.victim, c.image, c.label).damage.mean())


def test_stops_when_all_are_solved() -> None:
    c = case("classification", 2)
    calls: list[int] = []
    c.victim.network.register_forward_hook(lambda *_: calls.append(1))
    result = Square(eps=0.5, queries=500, stop_at=1.0)(c.victim, c.image, c.label)
    assert result.damage.tolist() == [1, 1, 1]
    assert len(calls) < 500


@pytest.mark.parametrize(
    ("options", "named"),
    [({"queries": 0}, "queries"), ({"p": 0}, "p must"), ({"norm": "l2"}, "norm"), ({"stop_at": 2}, "stop_at")],
)
def test_bad_arguments(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Square(eps=0.1, **options)


def test_the_schedule_is_the_papers() -> None:
    """Of 10,000 queries the side halves its area after 10, 50, 200, 500, 1,000, 2,000, 4,000, 6,000 and 8,000."""
    attack, shape = Square(eps=0.1, queries=10_000, p=0.8), torch.Size([1024, 1024])
    moments = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000]
    for halved, (before, after) in enumerate(zip(moments, [m + 1 for m in moments], strict=True)):
        assert attack.side(before, shape) == round((0.8 * 0.5**halved * 1024**2) ** 0.5)
        assert attack.side(after, shape) == round((0.8 * 0.5 ** (halved + 1) * 1024**2) ** 0.5)
