"""RayS: on a linear model it comes to the closed form, asks no more than it says, and is told classes alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_smia.attacks import Noise, RayS
from monai_smia.victims import ClassificationVictim


class Class(nn.Module):
    """The class of a linear model, as log-probabilities of it alone: no score; keeps what it was asked."""

    def __init__(self, weight: Tensor, bias: float) -> None:
        super().__init__()
        self.weight, self.bias, self.asked = weight, bias, list[Tensor]()

    def forward(self, image: Tensor) -> Tensor:
        self.asked.extend(image)
        positive = (image * self.weight).flatten(1).sum(1) + self.bias > 0
        return torch.stack([(~positive).to(image), positive.to(image)], 1) * 20


def linear(margin: float, size: int = 4) -> tuple[Class, Tensor, Tensor]:
    """A model whose decision turns at the L-inf radius `margin`, an image of class 1, and its label."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(1, size, size, generator=generator)
    image = 0.3 + 0.4 * torch.rand(1, 1, size, size, generator=generator)
    return Class(weight, float(margin * weight.abs().sum() - (weight * image).sum())), image, torch.tensor([1])


def found(network: Class, image: Tensor, label: Tensor, **options: Any) -> Any:
    return RayS(progress=False, **options)(ClassificationVictim(network), image, label)


def test_it_comes_to_the_radius_of_the_closed_form() -> None:
    network, image, label = linear(0.05)
    result = found(network, image, label, eps=0.052, queries=600)
    assert result.damage.tolist() == [1.0]
    assert float(result.perturbation.abs().max()) == pytest.approx(0.052)
    network, image, label = linear(0.05)
    result = found(network, image, label, eps=0.049, queries=600)
    assert result.damage.tolist() == [0.0]
    assert len(network.asked) == 601  # the clean image, and as often as it may


def test_what_is_returned_was_asked_for_and_lies_inside() -> None:
    network, image, label = linear(0.05)
    result = found(network, image, label, eps=0.03, queries=50)
    assert float(result.perturbation.abs().max()) == pytest.approx(0.03)  # the nearest direction, though it holds
    assert any(torch.equal(result.adversarial[0], asked) for asked in network.asked)
    assert len(network.asked) == 51
    asked = torch.stack(network.asked)
    assert float(asked.min()) >= 0
    assert float(asked.max()) <= 1
    assert float((asked - image).abs().max()) > 0.03  # on the way


def test_it_ends_as_soon_as_it_is_inside_of_the_ball() -> None:
    network, image, label = linear(0.05)
    result = found(network, image, label, eps=0.2, queries=600)
    assert result.damage.tolist() == [1.0]
    assert len(network.asked) < 60
    assert result.loss_history.shape == (601, 1)
    wrong, image, label = linear(-0.01)  # wrong as it is
    result = found(wrong, image, label, eps=0.2)
    assert len(wrong.asked) == 1
    assert torch.equal(result.adversarial, image)


def test_noise_of_the_same_radius_finds_nothing() -> None:
    network, image, label = linear(0.05)
    noise = Noise(eps=0.1, keep="best")(ClassificationVictim(network), image, label)
    assert noise.damage.tolist() == [0.0]
    assert found(network, image, label, eps=0.1, queries=200).damage.tolist() == [1.0]


def test_a_target_is_reached() -> None:
    network, image, _ = linear(0.05)
    target = torch.tensor([0])
    result = found(network, image, target, eps=0.1, queries=200, targeted=True)
    assert (result.clean_damage.tolist(), result.damage.tolist()) == ([1.0], [0.0])


def test_values_in_a_unit_without_a_range() -> None:
    network, image, label = linear(0.05)
    network.weight, hounsfield = network.weight / 1000, image * 1000
    result = found(network, hounsfield, label, eps=60.0, queries=400, clip=None)
    assert result.damage.tolist() == [1.0]
    assert float(result.perturbation.abs().max()) == pytest.approx(60)


@pytest.mark.parametrize("queries", range(1, 40))
def test_it_never_asks_more_than_it_may(queries: int) -> None:
    network, image, label = linear(0.05)
    found(network, image, label, eps=0.049, queries=queries)
    assert len(network.asked) == queries + 1


def test_where_nothing_turns_the_decision_flips_add_up() -> None:
    """One block of the first direction flipped never turns it; three do."""

    class Corner(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            signs = (image.flatten(1) - 0.5).sign()
            there = (signs == torch.tensor([-1.0, -1.0, -1.0, 1.0])).all(1)
            return torch.stack([(~there).to(image), there.to(image)], 1)

    image = torch.full((1, 1, 2, 2), 0.5)
    result = RayS(eps=0.1, queries=20, progress=False)(ClassificationVictim(Corner()), image, torch.tensor([0]))
    assert result.damage.tolist() == [1.0]


@pytest.mark.parametrize("success", [0, 1.5])
def test_a_success_outside_of_its_range(success: float) -> None:
    with pytest.raises(ValueError, match=r"success must lie in \(0, 1\]"):
        RayS(eps=0.1, success=success)
