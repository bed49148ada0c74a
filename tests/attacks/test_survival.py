from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from helpers import KINDS, case, linear_victim
from torch import nn

from monai_smia.attacks import BIM, Iterate, SurvivalSMIA
from monai_smia.attacks.survival import SurvivalState
from monai_smia.degradations import Identity, Resample, Smooth
from monai_smia.threat import ThreatModel
from monai_smia.victims import SegmentationVictim, Victim


@pytest.mark.parametrize(("task", "dims"), KINDS)
def test_without_degradation_it_is_bim_with_a_falling_step(task: str, dims: int) -> None:
    """With one step there is nothing to fall."""
    c = case(task, dims)
    options = {"eps": 0.05, "steps": 1, "step_size": 0.03, "keep": "last"}
    ours = SurvivalSMIA(cycle=[Identity()], **options)(c.victim, c.image, c.label)
    assert torch.equal(ours.adversarial, BIM(**options)(c.victim, c.image, c.label).adversarial)


def test_steps_fall_in_a_straight_line() -> None:
    victim, image = linear_victim(torch.tensor([[[1.0, -1.0]]])), torch.full((1, 1, 1, 2), 0.5)
    attack = SurvivalSMIA(eps=1.0, steps=4, clip=None, cycle=[Identity()], step_size=0.1)
    linf = attack(victim, image, torch.tensor([0])).linf[:, 0]
    torch.testing.assert_close(linf.diff(), 0.1 * torch.tensor([1.0, 0.75, 0.5, 0.25]))


def test_ascent_is_the_sum_of_every_degradations_latest_gradient() -> None:
    state, attack = (
        SurvivalState(),
        SurvivalSMIA(eps=0.1, steps=9, cycle=[Identity(), Smooth(1.0), Identity()], identity_weight=3.0),
    )
    first, smoothed, second, third = (
        torch.tensor([[[a, b]]]) for a, b in ((2.0, 2.0), (-1.0, 3.0), (4.0, 0.0), (0.0, 1.0))
    )
    unit = [
        torch.tensor([[pair]]) for pair in ((1.0, 1.0), (-0.5, 1.5), (2.0, 0.0), (0.0, 2.0))
    ]  # over mean magnitudes
    expected = [3 * unit[0], 3 * unit[0] + unit[1], 3 * unit[2] + unit[1], 3 * unit[3] + unit[1]]
    for gradient, ascent in zip((first, smoothed, second, third), expected, strict=True):
        torch.testing.assert_close(attack.direction(gradient, state), ascent)


def recorded(attack: SurvivalSMIA) -> list[torch.Tensor]:
    """Every iterate of the calls to come."""
    iterates: list[torch.Tensor] = []
    move, score = attack.move, attack.score

    def moving(victim: Victim, iterate: Iterate, threat: ThreatModel) -> tuple[torch.Tensor, int]:
        iterates.append(iterate.adversarial.detach())
        return move(victim, iterate, threat)

    def scoring(victim: Victim, iterate: Iterate) -> tuple[torch.Tensor, torch.Tensor]:
        if iterate.step == attack.steps:
            iterates.append(iterate.adversarial.detach())
        return score(victim, iterate)

    attack.move, attack.score = moving, scoring  # type: ignore[method-assign]
    return iterates


def test_every_step_is_predicted_through_its_degradation() -> None:
    c = case("segmentation", 2)
    seen: list[torch.Tensor] = []
    c.victim.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    cycle = [Identity(), Smooth(1.0), Resample(2.0)]
    SurvivalSMIA(eps=0.05, steps=4, cycle=cycle)(c.victim, c.image, c.label)
    assert len(seen) == 4  # one gradient a step, and no forward pass at the end
    assert torch.equal(seen[0], c.image)
    attack = SurvivalSMIA(eps=0.05, steps=4, cycle=cycle)
    iterates = recorded(attack)
    attack(c.victim, c.image, c.label)
    assert torch.equal(seen[1], Smooth(1.0)(iterates[1]))
    assert torch.equal(seen[2], Resample(2.0)(iterates[2]))
    assert torch.equal(seen[3], iterates[3])


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_best_is_by_the_mean_damage_over_the_cycle(task: str) -> None:
    c = case(task, 2, dtype=torch.float64)
    cycle = (Identity(), Identity(), Smooth(1.0))
    attack = SurvivalSMIA(eps=0.1, steps=6, cycle=cycle, keep="best")
    iterates = recorded(attack)
    result = attack(c.victim, c.image, c.label)
    assert len(iterates) == 7

    def mean_damage(image: torch.Tensor) -> torch.Tensor:
        return torch.stack([c.victim.damage(c.victim.predict(h(image)), c.label) for h in cycle]).double().mean(0)

    damages = torch.stack([mean_damage(image) for image in iterates])
    torch.testing.assert_close(mean_damage(result.adversarial), damages.amax(0))
    with torch.no_grad():  # and told is that of the image as it is
        prediction = c.victim.predict(result.adversarial)
        torch.testing.assert_close(result.damage, c.victim.damage(prediction, c.label).double())
        torch.testing.assert_close(result.loss, c.victim.loss(prediction, c.label))


def test_it_survives_smoothing_the_more_the_less_the_untouched_image_weighs() -> None:
    """A network that looks at fine detail and at coarse: without the cycle the attack takes the fine detail."""

    class FineAndCoarse(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            coarse = Smooth(2.0)(image) - 0.5
            fine = image - Smooth(1.0)(image)
            score = 20 * coarse + 20 * fine
            return torch.cat([-score, score], 1)

    label = torch.zeros(1, 1, 24, 24, dtype=torch.long)
    label[..., 6:18, 6:18] = 1
    image = 0.45 + 0.1 * label.double()
    victim = SegmentationVictim(FineAndCoarse())

    def left(**options: Any) -> float:
        attack = SurvivalSMIA(eps=0.04, steps=20, loss="soft_jaccard", **options)
        return float(victim.damage(victim.predict(Smooth(1.0)(attack(victim, image, label).adversarial)), label))

    cycle = [Identity(), Smooth(1.0)]
    damages = [left(cycle=[Identity()]), *(left(cycle=cycle, identity_weight=weight) for weight in (1.0, 0.25, 0.0))]
    assert all(more > less + 0.05 for less, more in itertools.pairwise(damages))


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_bad_weight(weight: float) -> None:
    with pytest.raises(ValueError, match="identity_weight must be a finite number >= 0"):
        SurvivalSMIA(eps=0.1, identity_weight=weight)


def test_the_old_name_of_the_weight() -> None:
    with pytest.warns(DeprecationWarning, match="use identity_weight"):
        attack = SurvivalSMIA(eps=0.1, direct=1.3)
    assert attack.identity_weight == 1.3
    assert dataclasses.replace(attack, steps=3).identity_weight == 1.3


@pytest.mark.parametrize("cycle", [[], [3]])
def test_bad_cycle(cycle: list) -> None:
    with pytest.raises(ValueError, match="cycle must hold one degradation or more, each callable"):
        SurvivalSMIA(eps=0.1, cycle=cycle)


def test_the_first_step_is_one_and_a_half_radii() -> None:
    victim, image = linear_victim(torch.tensor([[[1.0, -1.0]]])), torch.full((1, 1, 1, 2), 0.5)
    attack = SurvivalSMIA(eps=0.1, steps=3, clip=None, cycle=[Identity()])
    assert attack.step_length(0, 0.1) == pytest.approx(0.15)
    assert attack.step_length(2, 0.1) == pytest.approx(0.05)
    assert float(attack(victim, image, torch.tensor([0])).linf[1]) == pytest.approx(0.1)  # projected
