from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from helpers import case, linear_victim
from torch import Tensor

from monai_smia.attacks import APGD, PGD, SEA_SCHEDULE, AttackProblem, AttackResult


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_reaches_the_optimum_of_a_linear_model(norm: str, dual: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 6, 6, generator=generator, dtype=torch.float64)
    image = torch.rand(2, 3, 6, 6, generator=generator, dtype=torch.float64)
    for schedule in (((1.0, 1.0),), SEA_SCHEDULE):
        attack = APGD(eps=0.5, norm=norm, clip=None, steps=60, schedule=schedule)
        result = attack(linear_victim(weight), image, torch.tensor([0, 0]))
        gain = result.loss - (weight * image).flatten(1).sum(1)
        torch.testing.assert_close(gain, (0.5 * torch.linalg.vector_norm(weight, dual)).expand(2), rtol=1e-5, atol=0)


def test_a_corner_of_the_ball_is_no_zero_gradient() -> None:
    """Where it has nowhere to go it stands still; zero gradients are those of a flat loss alone."""
    image, label = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0])
    for slope, zero in ((1.0, 0), (0.0, 10)):
        result = APGD(eps=0.5, clip=None, steps=10)(linear_victim(torch.full((3, 6, 6), slope)), image, label)
        assert result.zero_gradient_steps.tolist() == [zero, zero]


def test_checkpoints_are_the_papers() -> None:
    """p = 0, 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 of 100 steps."""
    assert list(APGD(eps=1.0, steps=100)._checkpoints()) == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize("steps", [1, 2, 5, 8, 16, 17, 30, 34, 50, 99])
def test_checkpoints_of_any_number_of_steps(steps: int) -> None:
    """The paper's shares as whole steps, none of them less than one."""
    width, least, less = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    marks, since = [], 0
    for step in range(1, steps):
        since += 1
        if since == width:
            marks.append(step)
            width, since = max(width - less, least), 0
    attack = APGD(eps=1.0, steps=steps)
    assert list(attack._checkpoints()) == marks
    assert list(attack._checkpoints().values()) == [0, *marks[:-1]][: len(marks)]


def test_the_step_is_halved_where_it_leaps_over_a_ridge() -> None:
    """A peak at 0.02 that steps of 2 eps leap over: PGD with such steps never gets near it."""
    weight, image = torch.tensor([[[1.0]]], dtype=torch.float64), torch.tensor([[[[0.5]]]], dtype=torch.float64)
    victim = linear_victim(weight).with_loss(lambda p, y: -((p[:, 1] - 0.52).abs()))
    options = {"eps": 0.1, "random_start": False}
    gaps = {
        name: abs(float(attack(victim, image, torch.tensor([0])).adversarial) - 0.52)
        for name, attack in {
            "pgd": PGD(steps=40, step_size=0.2, **options),
            "apgd": APGD(steps=60, **options),
        }.items()
    }
    assert gaps["apgd"] < 0.005 < gaps["pgd"]


def test_the_schedule_keeps_to_the_radius_and_counts_its_gradients() -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    radii = torch.tensor([0.02, 0.05, 0.1], dtype=torch.float64)
    attack = APGD(eps=0.05, steps=10, schedule=SEA_SCHEDULE, clip=None)
    result = attack(c.victim, c.image, c.label, eps=radii)
    assert result.gradients.tolist() == [10, 10, 10]
    assert (result.loss_history.shape, result.linf.shape, result.cosine.shape) == ((11, 3), (11, 3), (9, 3))
    assert bool((result.perturbation.abs().amax((1, 2, 3)) <= radii + 1e-12).all())
    assert bool((result.linf[:3].amax(0) > 1.4 * radii).all())  # the first phase did leave the ball
    assert bool((result.linf[6:] <= radii + 1e-12).all())
    scored = c.victim.damage(c.victim.predict(result.adversarial), c.label)
    torch.testing.assert_close(scored, result.damage)


def test_early_stop_waits_for_the_allowed_ball() -> None:
    c = case("classification", 2, dtype=torch.float64)
    result = APGD(eps=0.2, steps=20, schedule=SEA_SCHEDULE, stop_at=1.0)(c.victim, c.image, c.label)
    assert result.damage.tolist() == [1, 1, 1]
    assert bool((result.perturbation.abs() <= 0.2 + 1e-12).all())
    assert bool((result.gradients < 20).all())


@pytest.mark.parametrize(
    "schedule",
    [
        ((2.0, 1.0),),
        ((2.0, 0.5), (1.0, 0.6)),
        ((0.5, 0.5), (1.0, 0.5)),
        ((1.0, 1.0 + 2e-6),),
        ((1.0, 1.0, 3),),
        ((1.0, 1.0, "soft_jaccard", 1.0),),
        (),
    ],
)
def test_bad_schedules(schedule: Any) -> None:
    with pytest.raises(ValueError, match="schedule must have radii >= 1 that end at 1"):
        APGD(eps=0.1, schedule=schedule)


def test_shares_that_sum_to_one_but_for_rounding() -> None:
    assert len(APGD(eps=0.1, schedule=[(2.0, 0.1), (1.5, 0.2), (1.0, 0.7 + 5e-7)]).schedule) == 3


@pytest.mark.parametrize("targeted", [False, True])
def test_a_phase_ascends_its_own_loss_and_the_histories_are_of_the_attacks(targeted: bool) -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    options: dict[str, Any] = {"eps": 0.05, "targeted": targeted, "clip": None, "random_start": False}
    schedule = [(1.0, 0.5), (1.0, 0.5, "soft_jaccard")]
    steer = {"steer_by": "damage"}
    whole = APGD(steps=12, schedule=schedule, **steer, **options)(c.victim, c.image, c.label)
    first = APGD(steps=6, **steer, **options)(c.victim, c.image, c.label)
    then = APGD(steps=6, loss="soft_jaccard", **options)(c.victim, c.image, c.label, start=first.perturbation)
    torch.testing.assert_close(whole.linf[6:], then.linf)
    torch.testing.assert_close(whole.cosine[-5:], then.cosine)
    torch.testing.assert_close(whole.damage, then.damage)
    torch.testing.assert_close(whole.loss, c.victim.loss(c.victim.predict(whole.adversarial), c.label))
    torch.testing.assert_close(whole.loss_history[:6], first.loss_history[:6])
    assert not bool((whole.loss_history[7:] == then.loss_history[1:]).any())


def test_an_unknown_loss_of_a_phase_is_named() -> None:
    c = case("segmentation", 2)
    with pytest.raises(ValueError, match=r"loss must be one of .*'sharp_jaccard'.* got 'sharper'"):
        APGD(eps=0.05, schedule=[(1.0, 1.0, "sharper")])(c.victim, c.image, c.label)


def test_what_it_is_steered_by_decides_on_points_and_steps() -> None:
    """A loss that falls as voxels are won leads back from where the damage is; steered by it the attack stays."""
    image, label = torch.tensor([[[[0.5]]]], dtype=torch.float64), torch.tensor([0])
    victim = linear_victim(torch.tensor([[[1.0]]], dtype=torch.float64))
    masked = victim.with_loss(lambda p, y: p[:, 1].where(p[:, 1] < 0.52, 0))  # of what is won nothing is left

    def last(steer_by: Any) -> float:
        attack = APGD(eps=0.1, steps=40, steer_by=steer_by, random_start=False, keep="last")
        return float(attack(masked, image, label).adversarial)

    assert last(None) < 0.55
    assert last(lambda p, y: p[:, 1]) == pytest.approx(0.6)
    c = case("segmentation", 2, dtype=torch.float64)
    assert APGD(eps=0.06, steps=5, steer_by="damage")(c.victim, c.image, c.label).damage.isfinite().all()
    with pytest.raises(ValueError, match="loss must be one of"):
        APGD(eps=0.06, steer_by="jaccard")(c.victim, c.image, c.label)


def test_steering_of_a_targeted_attack_goes_down() -> None:
    c = case("classification", 2, dtype=torch.float64, batch=4)
    target = (c.label + 1) % 2
    plain, steered = (
        APGD(eps=0.2, steps=20, targeted=True, steer_by=steer)(c.victim, c.image, target)
        for steer in (None, "cross_entropy")
    )
    assert torch.equal(plain.adversarial, steered.adversarial)


@pytest.mark.parametrize("shares", [(0.2, 0.8), (0.4, 0.6), (0.0, 1.0), (1.0, 0.0)])
def test_histories_of_a_schedule_are_as_long_as_those_of_one_ball(shares: tuple[float, float]) -> None:
    """A phase of a single step has no cosine of its own, and one gap to the next."""
    c, schedule = case("segmentation", 2), [(2.0, shares[0]), (1.0, shares[1])]
    one, two = (APGD(eps=0.05, steps=5, schedule=s)(c.victim, c.image, c.label) for s in (((1.0, 1.0),), schedule))
    for name in ("loss_history", "linf", "variance", "cosine", "gradients", "zero_gradient_steps"):
        assert getattr(one, name).shape == getattr(two, name).shape, name


def test_a_schedule_starts_in_its_first_ball() -> None:
    starts = []

    @dataclass(kw_only=True, eq=False)
    class Seen(APGD):
        def ascend(self, problem: AttackProblem, start: Tensor) -> AttackResult:
            starts.append((start - problem.image).abs().max())
            return super().ascend(problem, start)

    c = case("segmentation", 2, size=16)
    Seen(eps=0.05, steps=4, clip=None, schedule=[(3.0, 0.5), (2.0, 0.25), (1.0, 0.25)])(c.victim, c.image, c.label)
    assert 0.145 < float(starts[0]) <= 0.15
