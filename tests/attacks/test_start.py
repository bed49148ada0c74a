"""Attacks that begin from a perturbation that they are given."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import ATTACKS, SUITABLE, Case, case
from monai.data import MetaTensor
from monai.transforms import Compose, ScaleIntensityRange, Spacing
from torch import Tensor

from monai_smia.attacks import DAG, PGD, DeepFool, NetworkSpaceAttack, Noise
from monai_smia.victims import SegmentationVictim

HONOURED = [s for s in SUITABLE if not s[0].startswith(("noise", "vafa", "low-frequency"))]
# the first phase's ball is larger; random transforms and means over degradations are not the iterate's own loss
OTHERS = ("apgd-sea", "difgsm", "survival", "square", "decision", "rays", "ensemble")
FIRST_LOSS = [s for s in HONOURED if s[0] not in OTHERS]


def perturbed(c: Case, size: float) -> Tensor:
    draws = torch.rand(c.image.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(c.image)
    return (draws * 2 - 1).sign() * size


def damage_of(c: Case, image: Tensor) -> Tensor:
    with torch.no_grad():
        return c.victim.damage(c.victim.predict(image), c.label).double()


@pytest.mark.parametrize(("name", "task", "dims"), FIRST_LOSS)
def test_the_first_iterate_is_the_start_brought_into_the_ball(name: str, task: str, dims: int) -> None:
    c, attack = case(task, dims, dtype=torch.float64), ATTACKS[name](clip=(0.0, 1.0))
    start = perturbed(c, 3.0)  # far outside
    result = attack(c.victim, c.image, c.label, start=start)
    unit = start if attack.norm == "linf" else start / start.flatten(1).norm(dim=1).view(-1, *[1] * (dims + 1))
    first = (c.image + (unit.sign() if attack.norm == "linf" else unit) * attack.eps).clamp(0, 1)
    if "restarts" in name or name == "apgd-l2":  # the history is that of the run which was best
        attack.restarts = 1  # type: ignore[attr-defined]
        result = attack(c.victim, c.image, c.label, start=start)
    loss = c.victim.loss(c.victim.predict(first), c.label)
    torch.testing.assert_close(result.loss_history[0], loss)
    clean = damage_of(c, c.image)
    torch.testing.assert_close(result.clean_damage.double(), clean)


@pytest.mark.parametrize(("name", "task", "dims"), [s for s in HONOURED if s[0] not in ("apgd-sea", "survival", "fmn")])
def test_the_result_does_no_less_damage_than_the_start(name: str, task: str, dims: int) -> None:
    c, attack = case(task, dims, dtype=torch.float64), ATTACKS[name]()
    strong = PGD(eps=attack.eps, norm=attack.norm, steps=30, step_size=attack.eps / 4)(c.victim, c.image, c.label)
    start = strong.perturbation
    cold, warm = attack(c.victim, c.image, c.label), attack(c.victim, c.image, c.label, start=start)
    assert bool((damage_of(c, warm.adversarial) >= damage_of(c, c.image + start) - 1e-12).all())
    assert float(strong.damage.sum()) > 0
    assert not torch.equal(cold.adversarial, warm.adversarial)
    norms = torch.linalg.vector_norm(warm.perturbation.flatten(1), torch.inf if attack.norm == "linf" else 2, 1)
    assert bool((norms <= attack.eps + 1e-12).all())


@pytest.mark.parametrize("name", ["pgd", "smia", "apgd", "fmn", "square", "ensemble"])
def test_a_batch_begins_as_its_samples_do_and_the_start_stays_as_it_is(name: str) -> None:
    c, attack = (
        case("segmentation", 2, dtype=torch.float64),
        ATTACKS[name](**({} if name == "fmn" else {"stop_at": 0.9})),
    )
    start = perturbed(c, 0.04)
    before = start.clone()
    batch = attack(c.victim, c.image, c.label, start=start)
    assert torch.equal(start, before)
    for i in range(3):
        one = slice(i, i + 1)
        alone = attack(c.victim, c.image[one], c.label[one], start=start[one])
        torch.testing.assert_close(batch.adversarial[one], alone.adversarial, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("attack", [Noise(eps=0.05), DAG(eps=0.05, steps=3)], ids=["Noise", "DAG"])
def test_attacks_that_follow_from_the_image_take_no_notice(attack: Any) -> None:
    c = case("segmentation", 2)
    with_start = attack(c.victim, c.image, c.label, start=perturbed(c, 0.05))
    assert torch.equal(with_start.adversarial, attack(c.victim, c.image, c.label).adversarial)


def test_deepfool_takes_no_notice() -> None:
    c = case("classification", 2)
    with_start = DeepFool()(c.victim, c.image, c.label, start=perturbed(c, 0.05))
    assert torch.equal(with_start.adversarial, DeepFool()(c.victim, c.image, c.label).adversarial)


def test_a_start_keeps_off_the_mask() -> None:
    c = case("segmentation", 2)
    mask = torch.zeros(8, 8)
    mask[:4] = 1
    result = PGD(eps=0.05, steps=0)(c.victim, c.image, c.label, mask=mask, start=perturbed(c, 0.05))
    assert torch.equal(result.adversarial[..., 4:, :], c.image[..., 4:, :])
    assert not torch.equal(result.adversarial[..., :4, :], c.image[..., :4, :])


def test_a_start_is_brought_to_what_the_network_sees() -> None:
    preprocessing = Compose([Spacing((2.0, 2.0, 2.0), mode=3), ScaleIntensityRange(-1000, 400, 0, 1, clip=True)])
    victim = SegmentationVictim(torch.nn.Conv3d(1, 2, 3, padding=1), preprocessing=preprocessing)
    image, label = MetaTensor(torch.rand(1, 1, 12, 12, 12) * 300), torch.ones(1, 1, 12, 12, 12)
    attack = NetworkSpaceAttack(PGD(eps=20.0, clip=(-1024.0, 3071.0), steps=0))
    whole = attack(victim, image, label, start=torch.full_like(image, 20.0))
    torch.testing.assert_close(
        whole.linf[0], torch.tensor([20.0]), rtol=1e-4, atol=0
    )  # steps=0 returns what it begins with
    inside = whole.perturbation[..., 2:10:2, 2:10:2, 2:10:2]  # voxels that both grids hold; beside, zeros are mixed in
    torch.testing.assert_close(inside.as_tensor(), torch.full((1, 1, 4, 4, 4), 20.0), rtol=1e-4, atol=0)
    none = attack(victim, image, label, start=torch.zeros_like(image))
    assert float(none.perturbation.abs().max()) < 1e-3


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (torch.zeros(3, 2, 8), r"start must be a perturbation of the image's shape \(3, 2, 8, 8\), got \(3, 2, 8\)"),
        (0.1, "start must be a perturbation of the image's shape .* got float"),
        (torch.full((3, 2, 8, 8), torch.nan), "start must be finite"),
    ],
)
def test_what_is_no_start_is_refused(start: Any, message: str) -> None:
    c = case("segmentation", 2)
    with pytest.raises(ValueError, match=message):
        PGD(eps=0.05)(c.victim, c.image, c.label, start=start)
