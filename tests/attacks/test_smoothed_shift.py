"""Draws around doing nothing, and around the points that look worst."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_untouched, case, snapshot
from monai.data import MetaTensor
from torch import nn

from monai_smia.attacks import SmoothedShift
from monai_smia.shifts import Contrast, Dose, HUOffset, RigidMotion
from monai_smia.victims import ClassificationVictim


def bright(limit: float) -> ClassificationVictim:
    """Decides 1 where the mean is above a limit."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[0.0] * 4, [0.25] * 4]))
        network[1].bias.copy_(torch.tensor([0.0, -limit]))
    return ClassificationVictim(network)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_the_centers_go_where_damage_is(side: float) -> None:
    """An offset of 5 HU to one side alone breaks it, of a box of 10 HU: the draws at 10 there are broken."""
    image = torch.zeros(1, 1, 2, 2)
    victim = bright(5.0 * side)
    attack = SmoothedShift(HUOffset(severity=3), clip=None, draws=100, probes=50, distances=(1.0, 0.5), seed=3)
    assert attack.distances == (0.5, 1.0)
    result = attack(victim, image, torch.tensor([0 if side > 0 else 1]))
    tried, damage = result.tried[:, 0, 0], result.tried_damage[:, 0]
    assert len(tried) == 200
    for mean, drawn in ((0, tried[:100]), (5, tried[100:150]), (10, tried[150:])):
        assert float(side * drawn.mean()) == pytest.approx(mean, abs=3.5)
    assert bool((damage == (side * tried > 5)).all())
    assert damage[:100].mean() < damage[100:150].mean() < damage[150:].mean()


def test_as_the_normal_law_says() -> None:
    """The share of draws around nothing that break it is that of a normal variable beyond the border."""
    attack = SmoothedShift(HUOffset(severity=4), clip=None, draws=2000, probes=1, distances=(1.0,), sigma=0.5)
    result = attack(bright(10.0), torch.zeros(1, 1, 2, 2), torch.tensor([0]))
    assert float(result.tried_damage[:2000].mean()) == pytest.approx(0.1587, abs=0.025)  # 10 HU are one deviation


@pytest.mark.parametrize(("task", "dims"), [("classification", 2), ("segmentation", 3)])
def test_it_is_an_attack_as_others_are(task: str, dims: int) -> None:
    c = case(task, dims, batch=2)
    before = snapshot(c.victim.network)
    attack = SmoothedShift(RigidMotion(severity=2, lengths="%"), draws=6, probes=3, seed=1)
    result = attack(c.victim, c.image, c.label)
    assert_untouched(c.victim.network, before)
    assert (attack.queries, attack.planned_gradients, attack.knowledge) == (13, 0, "black box")
    assert result.tried.shape[:2] == (12, 2)
    assert bool((result.damage >= result.tried_damage.amax(0) - 1e-6).all())
    alone = attack(c.victim, c.image[1:], c.label[1:])
    assert torch.equal(alone.tried[:, 0], result.tried[:, 1])


def test_one_sided_parameters_stay_on_their_side() -> None:
    image = MetaTensor(torch.zeros(1, 1, 2, 2), affine=torch.eye(4))
    attack = SmoothedShift(Dose(severity=3), clip=None, draws=30, probes=5)
    result = attack(bright(1e9), image, torch.tensor([0]))
    assert bool((result.tried <= 100).all())
    assert bool((result.tried >= 25).all())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"draws": 0}, "draws must be"),
        ({"probes": 0}, "probes must be"),
        ({"sigma": 0.0}, "sigma must be a finite number > 0"),
        ({"distances": (0.0,)}, "distances must be finite numbers > 0"),
        ({"eps": 1.0}, "eps must be 0.0 for Contrast"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        SmoothedShift(Contrast(), **arguments)
