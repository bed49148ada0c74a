from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import case
from torch import Tensor, nn

from monai_smia.attacks import APGD, PGD, CriticalRadius, Ensemble, Noise, Square
from monai_smia.victims import ClassificationVictim, SegmentationVictim


class Linear(nn.Module):
    """Two classes by the sign of w * x + b; the distance to the boundary is known."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 64, dtype=torch.float64))

    def forward(self, image: Tensor) -> Tensor:
        score = image.flatten(1) @ self.weight
        return torch.stack([-score, score], 1)


def linear_case() -> tuple[ClassificationVictim, Tensor, Tensor, Tensor]:
    network = Linear()
    image = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    score = image.flatten(1) @ network.weight.detach()
    return ClassificationVictim(network, loss="margin"), image, (score > 0).long(), score.abs()


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_the_closed_form_of_a_linear_model(norm: str, dual: int) -> None:
    victim, image, label, score = linear_case()
    expected = score / torch.linalg.vector_norm(victim.network.weight.detach(), dual)
    attack = CriticalRadius(PGD(eps=20.0, norm=norm, steps=4, clip=None))
    result = attack(victim, image, label)
    order = torch.inf if norm == "linf" else 2
    found = torch.linalg.vector_norm(result.perturbation.flatten(1), order, 1)
    assert bool((result.damage == 1).all())
    assert bool((found >= expected).all())  # an upper bound
    torch.testing.assert_close(found, expected, rtol=0.011, atol=0)


def test_a_batch_gives_what_its_samples_give_and_gradients_are_counted() -> None:
    victim, image, label, _ = linear_case()
    attack = CriticalRadius(PGD(eps=20.0, steps=4, clip=None))
    together = attack(victim, image, label)
    for i in range(len(image)):
        alone = attack(victim, image[i : i + 1], label[i : i + 1])
        assert torch.equal(alone.adversarial[0], together.adversarial[i])
        assert int(alone.gradients) == int(together.gradients[i])
    assert bool((together.gradients > 4).all())
    assert bool((together.gradients <= attack.planned_gradients + 4 * 30).all())


def test_of_what_holds_the_largest_radius_is_returned_and_of_what_is_wrong_the_image() -> None:
    victim, image, label, score = linear_case()
    label[0] = 1 - label[0]  # wrong when clean
    largest = float((score / victim.network.weight.detach().abs().sum()).median())
    result = CriticalRadius(PGD(eps=largest, steps=4, clip=None))(victim, image, label)
    assert torch.equal(result.adversarial[0], image[0])
    holds = result.damage < 1
    assert 0 < int(holds.sum()) < 6
    sizes = result.perturbation.abs().flatten(1).amax(1)
    assert bool((sizes[holds] <= largest + 1e-12).all())
    assert bool((sizes[holds] > 0.9 * largest).all())


@pytest.mark.parametrize("attack", [APGD, Square, "ensemble"])
def test_of_a_segmentation_it_is_monotone_in_the_share(attack: Any) -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    assert isinstance(c.victim, SegmentationVictim)
    options: dict[str, Any] = {"eps": 0.4, "loss": "soft_jaccard"}
    if attack == "ensemble":
        tried: Any = Ensemble([APGD(steps=10, **options), Noise(eps=0.4)])
    else:
        tried = attack(**options, **({"queries": 60} if attack is Square else {"steps": 10}))
    with torch.no_grad():
        clean = c.victim.damage(c.victim.predict(c.image), c.label)
    before = torch.zeros(len(c.image), dtype=torch.float64)
    for share in (0.9, 0.6, 0.3):
        result = CriticalRadius(tried, share=share, precision=0.02)(c.victim, c.image, c.label)
        reached = result.damage >= 1 - share * (1 - clean)
        size = torch.where(reached, result.perturbation.abs().flatten(1).amax(1), torch.inf)
        assert bool((size >= 0.97 * before).all())
        before = size


def test_a_judge_has_the_last_word() -> None:
    """One that sees damage only where the change is twice as large as the victim needs."""
    victim, image, label, score = linear_case()
    image, label, score = image[:1], label[:1], score[:1]
    expected = float(score / victim.network.weight.detach().abs().sum())

    def judge(attacked: Tensor) -> float:
        return float((attacked - image).abs().max() >= 2 * expected)

    result = CriticalRadius(PGD(eps=20.0, steps=4, clip=None), judge=judge)(victim, image, label)
    assert float(result.perturbation.abs().max()) == pytest.approx(2 * expected, rel=0.011)


@pytest.mark.parametrize(("name", "value"), [("share", 1.0), ("share", -0.1), ("precision", 0.0), ("precision", 1.0)])
def test_bad_arguments(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must lie in .*, got {value}\."):
        CriticalRadius(PGD(eps=0.1), **{name: value})
    with pytest.raises(ValueError, match="targeted"):
        CriticalRadius(PGD(eps=0.1, targeted=True))


def test_the_damage_is_that_by_which_it_was_judged() -> None:
    """The judge may see another damage than the attack, which may run in lower precision."""
    c = case("classification", 2)
    attack = CriticalRadius(PGD(eps=0.05, steps=3), judge=lambda image: 0.9 if (image != c.image[:1]).any() else 0.0)
    found = attack(c.victim, c.image[:1], c.label[:1])
    assert found.damage.tolist() == [pytest.approx(0.9)]
