from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import case
from torch import nn

from monai_smia.attacks import APGD, FMN, FMNT, CriticalRadius
from monai_smia.victims import ClassificationVictim


def size(perturbation: torch.Tensor) -> torch.Tensor:
    return perturbation.flatten(1).abs().amax(1)


def linear(bias: list[float], gain: list[float]) -> ClassificationVictim:
    """Classes whose scores are lines over the mean of the image."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, len(gain))).double()
    network[1].weight.data = torch.tensor(gain, dtype=torch.float64).view(-1, 1).expand(-1, 4) / 4
    network[1].bias.data = torch.tensor(bias, dtype=torch.float64)
    return ClassificationVictim(network)


def test_the_nearest_border_is_not_that_of_the_highest_score() -> None:
    """At 0 class 1 follows with -1, its border at 1/3 along +; class 2 has -2, and its border lies at 2/9 along -."""
    victim = linear([0.0, -1.0, -2.0], [0.0, 3.0, -9.0])
    image, label = torch.zeros(1, 1, 2, 2, dtype=torch.float64), torch.tensor([0])
    options: dict[str, Any] = {"eps": 2.0, "clip": None, "steps": 100, "progress": False}
    one = FMN(loss="margin", **options)(victim, image, label)
    assert float(size(one.perturbation)) == pytest.approx(1 / 3, rel=0.01)
    two = FMNT(**options)(victim, image, label)
    assert float(size(two.perturbation)) == pytest.approx(2 / 9, rel=0.01)
    assert two.gradients.tolist() == [200]
    assert FMNT(num_targets=1, **options)(victim, image, label).gradients.tolist() == [100]
    expected = victim.loss(victim.predict(two.adversarial), label)
    torch.testing.assert_close(two.loss, expected)


def test_a_nearer_border_found_first_is_kept() -> None:
    """Class 1 at 1/3 along +, then class 2 at 1/2 along -."""
    victim, image = linear([0.0, -1.0, -2.0], [0.0, 3.0, -4.0]), torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    result = FMNT(eps=2.0, clip=None, steps=100, progress=False)(victim, image, torch.tensor([0]))
    assert float(size(result.perturbation)) == pytest.approx(1 / 3, rel=0.01)


def test_of_two_classes_it_is_one_run() -> None:
    victim, image = linear([0.0, -1.0], [0.0, 3.0]), torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    options: dict[str, Any] = {"eps": 2.0, "steps": 20, "clip": None, "progress": False}
    ours, plain = (a(victim, image, torch.tensor([0])) for a in (FMNT(**options), FMN(loss="margin", **options)))
    torch.testing.assert_close(ours.adversarial, plain.adversarial)
    assert ours.gradients.tolist() == [20]


def test_what_succeeds_nowhere_comes_back_with_most_damage() -> None:
    c = case("classification", 2, dtype=torch.float64)
    result = FMNT(eps=1e-6, steps=5)(c.victim, c.image, c.label)
    assert result.damage.tolist() == result.clean_damage.tolist()


def test_it_is_of_classifiers() -> None:
    c = case("segmentation", 2)
    with pytest.raises(ValueError, match="victim must be a ClassificationVictim for FMNT"):
        FMNT(eps=0.1)(c.victim, c.image, c.label)


@pytest.mark.parametrize("options", [{"num_targets": 0}, {"targeted": True}, {"loss": "margin"}, {"success": 0}])
def test_bad_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        FMNT(eps=0.1, **options)


def test_bisection_goes_on_from_what_was_found_first() -> None:
    victim = linear([0.0, -1.0, -2.0], [0.0, 3.0, -9.0])
    image, label = torch.zeros(1, 1, 2, 2, dtype=torch.float64), torch.tensor([0])
    options: dict[str, Any] = {"eps": 2.0, "clip": None, "progress": False}
    first, then = FMNT(steps=40, **options), APGD(steps=10, **options)
    search = CriticalRadius(then, first=first)
    result = search(victim, image, label)
    assert 2 / 9 <= float(size(result.perturbation)) <= 2 / 9 * 1.01
    assert float(size(CriticalRadius(then)(victim, image, label).perturbation)) > 0.3
    assert search.planned_gradients == 9 * 40 + 7 * 10
    assert search.name == "CriticalRadius"
