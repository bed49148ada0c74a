"""The bisection of a critical radius, with an attack of which every answer is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_smia.attacks import PGD, Attack, AttackProblem, AttackResult, CriticalRadius, Ensemble
from monai_smia.attacks.trajectory import Trajectory
from monai_smia.victims import Victim

TRIED: list[tuple[float, float | None, bool]] = []  # radius, damage to stop at, whether it began somewhere


@dataclass(kw_only=True, eq=False)
class Shift(Attack):
    """Adds its radius to every voxel, and takes three gradients for it."""

    stop_at: float | None = None

    def run(self, problem: AttackProblem) -> AttackResult:
        radius = float(torch.as_tensor(problem.threat.radius))
        TRIED.append((radius, self.stop_at, problem.start is not None))
        found, point = Trajectory(problem.image), problem.image + radius
        found.add_size(point, problem.image)
        damage = problem.victim.damage(problem.victim.predict(point), problem.label)
        found.take_better(point, damage, damage)
        found.add_step(point - problem.image, None, 3)
        return found.result()

    @property
    def planned_gradients(self) -> int:
        return 3


class Sum(Victim):
    """Damage is how far the mean of an image lies above the label, from 0 to 1."""

    losses = {"sum": lambda output, prediction, target: prediction.flatten(1).sum(1)}
    divergences = losses

    def __init__(self) -> None:
        super().__init__(nn.Identity(), loss="sum", divergence="sum")

    def check_label(self, prediction: Any, label: Any) -> None:
        pass

    def decide(self, prediction: Tensor) -> Tensor:
        return prediction.flatten(1).mean(1)

    def damage(self, prediction: Tensor, label: Tensor) -> Tensor:
        return (prediction.flatten(1).mean(1) - label).clamp(0, 1)


def search(clean: float = 0.0, largest: float = 1.0, **options: Any) -> AttackResult:
    TRIED.clear()
    image = torch.full((1, 1, 4), 0.5, dtype=torch.float64)
    attack = CriticalRadius(Shift(eps=largest, clip=None), **options)
    return attack(Sum(), image, torch.tensor([0.5 - clean], dtype=torch.float64))


def radii() -> list[float]:
    return [radius for radius, _, _ in TRIED]


def test_every_radius_lies_between_what_failed_and_what_succeeded() -> None:
    """Half of what is right is lost from a radius of 0.5 on, of which a quarter is wrong already from 0.375."""
    found = search(precision=0.1)
    assert radii() == [1.0, 0.5, 0.25, 0.375, 0.4375, 0.46875]
    assert float(found.perturbation.abs().max()) == 0.5
    assert found.gradients.tolist() == [18]
    assert found.damage.tolist() == [0.5]
    quarter = search(clean=0.25, precision=0.1)
    assert radii() == [1.0, 0.5, 0.25, 0.375, 0.3125, 0.34375]
    assert float(quarter.perturbation.abs().max()) == 0.375
    assert quarter.clean_damage.tolist() == [0.25]


def test_it_ends_where_the_distance_is_just_the_precision() -> None:
    search(precision=0.5)
    assert radii() == [1.0, 0.5, 0.25]  # a quarter lies between 0.25 and 0.5: half of 0.5


def test_attacks_end_a_little_beyond_what_is_needed_and_begin_where_one_succeeded() -> None:
    search(precision=0.4)
    assert TRIED == [(1.0, 0.52, False), (0.5, 0.52, True), (0.25, 0.52, True), (0.375, 0.52, True)]
    search(share=0.0, largest=2.0, precision=0.4)
    assert TRIED[0] == (2.0, 1.0, False)
    search(share=0.01, largest=2.0, precision=0.4)
    assert TRIED[0][1] == 1.0


@pytest.mark.parametrize(("share", "critical"), [(0.0, 1.0), (0.2, 0.8), (0.9, 0.1)])
def test_the_share_that_may_be_left(share: float, critical: float) -> None:
    found = search(share=share, largest=2.0, precision=0.01)
    assert critical <= float(found.perturbation.abs().max()) <= 1.01 * critical


def test_what_holds_and_what_is_wrong_already() -> None:
    held = search(largest=0.4)
    assert (radii(), held.damage.tolist()) == (pytest.approx([0.4]), pytest.approx([0.4]))
    assert held.gradients.tolist() == [3]
    wrong = search(clean=1.0)
    assert (radii(), float(wrong.perturbation.abs().max())) == ([0.0], 0.0)
    assert TRIED[0][1] == 1.0
    never = search(clean=0.0, largest=0.5)
    assert radii()[0] == 0.5
    assert float(never.perturbation.abs().max()) == 0.5  # just enough


def test_it_ends_where_hardly_anything_is_left_to_halve() -> None:
    image, attack = torch.full((1, 1, 4), 0.5, dtype=torch.float64), CriticalRadius(Shift(eps=1.0, clip=None))
    TRIED.clear()
    judged = replace(attack, judge=lambda image: 1.0 if float(image.max()) > 0.5 else 0.0)
    found = judged(Sum(), image, torch.tensor([0.5], dtype=torch.float64))
    assert len(TRIED) == 31  # thirty halvings
    assert float(found.perturbation.abs().max()) == pytest.approx(2**-30, rel=1e-6)


def test_a_judge_has_the_last_word_on_every_radius() -> None:
    image = torch.full((1, 1, 4), 0.5, dtype=torch.float64)
    TRIED.clear()
    attack = CriticalRadius(
        Shift(eps=1.0, clip=None), precision=0.1, judge=lambda image: 0.9 if float(image.max()) >= 1.25 else 0.0
    )
    found = attack(Sum(), image, torch.tensor([0.5], dtype=torch.float64))
    assert float(found.perturbation.abs().max()) == pytest.approx(0.75)


@pytest.mark.parametrize(("precision", "halvings"), [(0.01, 7), (0.5, 1), (0.49, 2), (0.25, 2), (0.9, 1)])
def test_gradients_are_those_of_the_largest_radius_and_of_every_halving(precision: float, halvings: int) -> None:
    assert CriticalRadius(PGD(eps=0.1, steps=5), precision=precision).planned_gradients == 5 * (1 + halvings)


def test_every_part_ends_early() -> None:
    parts = Ensemble([Shift(eps=1.0, clip=None), Shift(eps=1.0, clip=None)])
    TRIED.clear()
    image = torch.full((1, 1, 4), 0.5, dtype=torch.float64)
    CriticalRadius(parts, precision=0.5)(Sum(), image, torch.tensor([0.5], dtype=torch.float64))
    assert {stop for _, stop, _ in TRIED} == {0.52}


@pytest.mark.parametrize("options", [{"share": 1.0}, {"share": -0.1}, {"precision": 0.0}, {"precision": 1.0}])
def test_shares_and_precisions_that_are_none(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must lie in"):
        CriticalRadius(PGD(eps=0.1), **options)
    assert CriticalRadius(PGD(eps=0.1), share=0.0, precision=0.999).share == 0
