"""Figures of an attack that were wrong once, and the sentences where there is none."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from helpers import case, linear_victim, network
from monai.transforms import Compose, Lambda
from torch import Tensor, nn

from monai_smia.attacks import (
    APGD,
    BIM,
    FMN,
    MIFGSM,
    PGD,
    SMIA,
    Attack,
    DeepFool,
    Ensemble,
    NetworkSpaceAttack,
    Noise,
    Square,
    SurvivalSMIA,
    Transfer,
)
from monai_smia.threat import ThreatModel
from monai_smia.victims import ClassificationVictim, SegmentationVictim

SCORED: dict[str, Attack] = {
    "bim": BIM(eps=0.05, steps=3),
    "pgd": PGD(eps=0.05, steps=3),
    "pgd-restarts": PGD(eps=0.05, steps=2, restarts=3),
    "smia": SMIA(eps=0.05, steps=3),
    "apgd": APGD(eps=0.05, steps=5),
    "fmn": FMN(eps=0.2, steps=4),
    "square": Square(eps=0.05, queries=5),
    "noise": Noise(eps=0.05),
    "survival": SurvivalSMIA(eps=0.05, steps=4, keep="best"),
    "ensemble": Ensemble([PGD(eps=0.05, steps=2), Square(eps=0.05, queries=3)]),
    "last": BIM(eps=0.05, steps=3, keep="last", stop_at=0.9),
}


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("name", SCORED)
def test_clean_attack_and_added_damage_are_apart(name: str, task: str) -> None:
    """Also where part of the batch is wrong before any attack."""
    c = case(task, 2, dtype=torch.float64)
    label = c.label.clone()
    label[0] = (label[0] + 1) % 3
    result = SCORED[name](c.victim, c.image, label)
    with torch.no_grad():
        clean = c.victim.damage(c.victim.predict(c.image), label).double()
        after = c.victim.damage(c.victim.predict(result.adversarial), label).double()
    assert float(clean[0]) > 0.9
    torch.testing.assert_close(result.clean_damage.double(), clean)
    torch.testing.assert_close(result.damage.double(), after)
    torch.testing.assert_close(result.added_damage.double(), after - clean)


def test_a_transfer_tells_the_victims_clean_damage() -> None:
    c = case("classification", 2, dtype=torch.float64)
    surrogate = ClassificationVictim(network("classification", 2, seed=5).double().eval())
    wrong = surrogate.decide(surrogate.predict(c.image))
    assert not torch.equal(wrong, c.label)
    result = Transfer(PGD(eps=0.01, steps=2), surrogate=surrogate)(c.victim, c.image, wrong)
    assert result.clean_damage.tolist() == (wrong != c.label).double().tolist()


def test_survival_at_radius_zero_does_no_damage() -> None:
    """A mean over degradations is what iterates are compared by, not what the image has suffered."""
    c = case("segmentation", 2)
    result = SurvivalSMIA(eps=0.0, steps=3, keep="best")(c.victim, c.image, c.label)
    assert result.damage.tolist() == result.clean_damage.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="stop_at must be None for SurvivalSMIA"):
        SurvivalSMIA(eps=0.1, stop_at=0.2)


@pytest.mark.parametrize("attack", [BIM(eps=0.02, steps=4, keep="last", stop_at=1.0), DeepFool(eps=0.3, keep="last")])
def test_the_last_iterates_of_all_samples_are_scored_or_none(attack: Attack) -> None:
    """The mean of the solved ones alone would read as complete damage."""
    c = case("classification", 2, batch=8, dtype=torch.float64)
    result = attack(c.victim, c.image, c.label)
    with torch.no_grad():
        expected = c.victim.damage(c.victim.predict(result.adversarial), c.label).double()
    torch.testing.assert_close(result.damage, expected)
    assert 0 < float(expected.mean()) < 1
    assert not bool(result.loss.isnan().any())


@pytest.mark.parametrize("kind", [Square, FMN])
def test_keep_is_refused_where_it_has_no_effect(kind: Any) -> None:
    with pytest.raises(ValueError, match="keep must be best"):
        kind(eps=0.1, keep="last")
    with pytest.raises(ValueError, match="keep must be best"):
        Ensemble([BIM(eps=0.1)], keep="last")


@pytest.mark.parametrize("options", [{"restarts": 20, "random_start": True}, {"random_start": True}])
def test_the_control_is_one_draw(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="for Noise, or left out"):
        Noise(eps=0.1, **options)


def test_members_of_an_ensemble_draw_from_their_own_seeds() -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    members = [PGD(eps=0.05, steps=1, step_size=0.01, seed=seed) for seed in (1, 2)]
    alone = [member(c.victim, c.image, c.label) for member in members]
    assert not torch.equal(alone[0].adversarial, alone[1].adversarial)
    worst = Ensemble(members)(c.victim, c.image, c.label)
    torch.testing.assert_close(worst.damage, torch.maximum(alone[0].damage, alone[1].damage))
    given = Ensemble(members)(c.victim, c.image, c.label, seed=7)  # a seed of the call holds for all
    assert torch.equal(given.adversarial, members[0](c.victim, c.image, c.label, seed=7).adversarial)


def test_reseeding_reaches_every_part() -> None:
    surrogate = ClassificationVictim(nn.Identity())
    attack = Ensemble([PGD(eps=0.1, seed=1), Transfer(PGD(eps=0.1, seed=2), surrogate=surrogate)], seed=3)
    other = attack.reseeded(lambda seed: 10 * int(str(seed)))
    transfer = other.attacks[1]
    assert isinstance(transfer, Transfer)
    assert (other.seed, other.attacks[0].seed, transfer.seed, transfer.attack.seed) == (30, 10, 20, 20)
    assert attack.attacks[0].seed == 1


@pytest.mark.parametrize("targeted", [False, True])
def test_square_with_an_early_stop_gives_a_batch_what_its_samples_get(targeted: bool) -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    label = (c.label + 1) % 3 if targeted else c.label
    attack = Square(eps=0.2, queries=40, stop_at=0.25, targeted=targeted)
    batch = attack(c.victim, c.image, label, seed=[4, 5, 6])
    for i in range(3):
        alone = attack(c.victim, c.image[i : i + 1], label[i : i + 1], seed=[4 + i])
        torch.testing.assert_close(batch.adversarial[i : i + 1], alone.adversarial, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(batch.damage[i : i + 1], alone.damage)


def test_network_space_may_leave_the_range_of_the_batch() -> None:
    """Class 1 where the mean is above .45: an image from .5 to .6 need not stay there."""

    class Bright(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            score = 50 * (image.mean((1, 2, 3)) - 0.45)
            return torch.stack([-score, score], 1)

    victim = ClassificationVictim(Bright(), preprocessing=Compose([Lambda(lambda x: x * 1.0)]))
    label = torch.ones(1, dtype=torch.long)
    for image in (torch.tensor([[[[0.5, 0.6], [0.5, 0.6]]]]), torch.full((1, 1, 2, 2), 0.55)):
        for clip in ((0.0, 1.0), None):
            attack = PGD(eps=0.2, steps=5, clip=clip)
            assert attack(victim, image, label).damage.item() == 1
            assert NetworkSpaceAttack(attack)(victim, image, label).damage.item() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [BIM, PGD, Square])
def test_images_that_cannot_keep_to_eps_are_refused(kind: Any, dtype: torch.dtype) -> None:
    c = case("segmentation", 2)
    with pytest.raises(ValueError, match=r"32 or 64 bits.*autocast"):
        kind(eps=8 / 255)(c.victim, c.image.to(dtype), c.label)


@pytest.mark.parametrize("clip", ["01", ("0", "1"), (0.0, 0.5, 1.0), 1.0, (1.0, 0.0), (0.0, float("nan"))])
def test_a_range_is_two_numbers(clip: Any) -> None:
    for make in (lambda: ThreatModel(0.1, clip=clip), lambda: BIM(eps=0.1, clip=clip)):
        with pytest.raises(ValueError, match="clip must be two numbers"):
            make()


@pytest.mark.parametrize("eps", [[0.01, 0.05], torch.tensor([0.01, 0.05]), "0.1"])
def test_radii_of_samples_are_given_to_the_call(eps: Any) -> None:
    with pytest.raises(ValueError, match="eps must be"):
        PGD(eps=eps)
    c = case("segmentation", 2, batch=2)
    if not isinstance(eps, str):
        changes = PGD(eps=0.1)(c.victim, c.image, c.label, eps=eps).perturbation.abs().amax((1, 2, 3))
        torch.testing.assert_close(changes, torch.tensor([0.01, 0.05]))


@pytest.mark.parametrize("schedule", [(), "sea", ((1.0,),), (1.0, 1.0)])
def test_a_schedule_is_named_where_it_is_none(schedule: Any) -> None:
    with pytest.raises(ValueError, match="schedule must have"):
        APGD(eps=0.1, schedule=schedule)


def test_a_network_in_the_victims_place_is_named() -> None:
    with pytest.raises(ValueError, match="victim must be a Victim around the network, got Conv2d"):
        BIM(eps=0.1)(nn.Conv2d(1, 2, 1), torch.rand(1, 1, 4, 4), torch.ones(1, 1, 4, 4))  # type: ignore[arg-type]


class NaNGradient(nn.Module):
    """Predicts as its network, with a gradient that is NaN in the voxels below .5."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        return self.net(image + 0 * torch.sqrt(image * (image > 0.5)))


@pytest.mark.parametrize("attack", [PGD, APGD, MIFGSM, FMN, partial(PGD, norm="l2"), SMIA], ids=str)
def test_a_gradient_that_is_nan_somewhere_is_named(attack: Any) -> None:
    c = case("segmentation", 2)
    victim = SegmentationVictim(NaNGradient(c.victim.network))
    with pytest.raises(ValueError, match=r"gradient with respect to the image is NaN .* for samples \[0, 1, 2\]"):
        attack(eps=0.05)(victim, c.image, c.label)


@pytest.mark.parametrize("share", [0.01, 0.1, 1.0])
def test_an_l2_start_under_a_mask_is_uniform_in_the_ball_of_its_voxels(share: float) -> None:
    """The radius of a uniform point in n dimensions to the n-th is uniform on [0, 1]."""
    image = torch.full((400, 1, 20, 20), 0.5, dtype=torch.float64)
    mask = torch.zeros(20, 20, dtype=torch.bool)
    mask.view(-1)[: int(400 * share)] = True
    threat = ThreatModel(0.3, "l2", clip=None, mask=mask).on(image)
    start = threat.random_start(image, [torch.Generator().manual_seed(i) for i in range(400)])
    radius = (start - image).flatten(1).norm(dim=1) / 0.3
    uniform = (radius ** int(mask.sum())).sort().values
    assert float((uniform - torch.linspace(0, 1, 400)).abs().max()) < 0.08  # Kolmogorov-Smirnov, p = .01
    assert not bool((start - image)[:, :, ~mask].any())


def test_linear_optimum_is_reached_from_every_door() -> None:
    """A guard for this file: what is told is what was done."""
    weight = torch.tensor([[[1.0, -2.0]]], dtype=torch.float64)
    image = torch.full((2, 1, 1, 2), 0.5, dtype=torch.float64)
    result = BIM(eps=0.1, steps=4)(linear_victim(weight), image, torch.tensor([0, 0]))
    torch.testing.assert_close(result.loss, torch.full((2,), -0.5 + 0.3, dtype=torch.float64))
