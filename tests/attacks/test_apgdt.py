from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import case, network
from torch import Tensor, nn

from monai_smia.attacks import APGD, APGDT, PGD, Ensemble, Square
from monai_smia.victims import ClassificationVictim

EPS, L2_EPS = 0.15, 1.3  # where part of the samples hold


def batch(count: int = 12, classes: int = 6, seed: int = 0) -> tuple[ClassificationVictim, Tensor, Tensor]:
    victim = ClassificationVictim(network("classification", 2, classes=classes, seed=seed).double().eval())
    image = torch.rand(count, 2, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return victim, image, victim.decide(victim.predict(image))


@pytest.mark.parametrize("classes", [2, 3, 4, 6])
def test_the_first_step_is_along_the_ratio_toward_the_class(classes: int) -> None:
    """Of every rank, by plain autograd on the formula of the AutoAttack paper."""
    victim, image, label = batch(classes=classes)
    row = torch.arange(len(image))
    for rank in range(classes - 1):
        x = image.clone().requires_grad_(True)
        z = victim.network(x)
        ordered = z.sort(1, descending=True).values
        wrong = z.detach().scatter(1, label[:, None], -torch.inf).argsort(1, descending=True)[:, rank]
        ratio = z[row, wrong] - z[row, label]
        if classes > 3:
            ratio = ratio / (ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2)
        (g,) = torch.autograd.grad(ratio.sum(), x)
        attack = APGDT(eps=0.002, steps=1, rank=rank, random_start=False, keep="last", clip=None)
        torch.testing.assert_close(attack(victim, image, label).adversarial, image + 0.002 * g.sign())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_finds_at_least_what_cross_entropy_finds(norm: str) -> None:
    """And takes no gradient of a sample once it is decided wrongly."""
    victim, image, label = batch(24)
    eps = EPS if norm == "linf" else L2_EPS
    targeted = APGDT(eps=eps, norm=norm, steps=20)(victim, image, label)
    plain = APGD(eps=eps, norm=norm, steps=20, stop_at=1.0)(victim, image, label)
    assert float(targeted.damage.sum()) >= float(plain.damage.sum()) > 0
    assert int(targeted.gradients[targeted.damage == 1].max()) < 5 * 20
    assert set(targeted.gradients[targeted.damage == 0].tolist()) <= {5 * 20}
    assert torch.equal(victim.decide(victim.predict(targeted.adversarial)) != label, targeted.damage == 1)


def test_a_batch_gives_what_its_samples_give() -> None:
    victim, image, label = batch()
    attack = APGDT(eps=EPS, steps=8)
    together = attack(victim, image, label, seed=list(range(12)))
    for i in range(12):
        alone = attack(victim, image[i : i + 1], label[i : i + 1], seed=[i])
        torch.testing.assert_close(together.adversarial[i : i + 1], alone.adversarial, rtol=1e-9, atol=1e-12)
        assert together.gradients[i] == alone.gradients[0]
    assert len(set(together.gradients.tolist())) > 1


def test_two_classes_and_what_is_no_classifier() -> None:
    victim, image, label = batch(classes=2)
    result = APGDT(eps=0.2, steps=10)(victim, image, label)
    assert float(result.damage.mean()) > 0.9
    assert int(result.gradients.max()) <= 10
    c = case("segmentation", 2)
    with pytest.raises(ValueError, match="victim must be a ClassificationVictim for APGDT"):
        APGDT(eps=0.1)(c.victim, c.image, c.label)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"num_targets": 0}, "num_targets"), ({"targeted": True}, "targeted"), ({"stop_at": None}, "stop_at")],
)
def test_bad_arguments(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        APGDT(eps=0.1, **options)


def test_an_ensemble_leaves_out_what_is_solved() -> None:
    """The same damage with fewer gradients, sample by sample."""
    victim, image, label = batch(24)
    members = [PGD(eps=EPS, steps=4), APGDT(eps=EPS, steps=10), Square(eps=EPS, queries=10)]
    seen: list[int] = []
    victim.network.register_forward_hook(lambda _, inputs, output: seen.append(len(inputs[0])))
    whole = Ensemble(members)(victim, image, label)
    calls, whole_samples = len(seen), sum(seen)
    early = Ensemble(members, stop_at=1.0)(victim, image, label)
    assert sum(seen[calls:]) < whole_samples
    assert torch.equal(early.damage, whole.damage)
    assert 0 < float(early.damage.mean()) < 1
    assert bool((early.gradients <= whole.gradients).all())
    assert bool((early.gradients < whole.gradients).any())
    with torch.no_grad():
        decided = victim.decide(victim.predict(early.adversarial))
    assert torch.equal(decided != label, early.damage == 1)
    for i in range(24):
        alone = Ensemble(members, stop_at=1.0)(victim, image[i : i + 1], label[i : i + 1])
        torch.testing.assert_close(early.adversarial[i : i + 1], alone.adversarial, rtol=1e-9, atol=1e-12)
        assert early.gradients[i] == alone.gradients[0]


class Fails(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        raise AssertionError("nothing is left to attack")


def test_members_that_have_nothing_left_to_do_are_not_run() -> None:
    victim, image, label = batch(4)
    surrogate = ClassificationVictim(Fails())
    from monai_smia.attacks import Transfer

    members = [PGD(eps=0.5, steps=10), Transfer(PGD(eps=0.5), surrogate=surrogate)]
    assert Ensemble(members, stop_at=1.0)(victim, image, label).damage.tolist() == [1] * 4


def test_planned_gradients() -> None:
    assert APGDT(eps=0.1, steps=10, num_targets=4).planned_gradients == 40
    assert APGDT(eps=0.1, steps=10, num_targets=4, rank=1).planned_gradients == 10
