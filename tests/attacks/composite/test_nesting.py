"""Composites inside each other, in any order, are what they are made of, sample by sample."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import network
from monai.data import MetaTensor
from monai.transforms import Compose, Orientation, ScaleIntensityRange, Spacing, SpatialPad
from torch import Tensor

from monai_smia.attacks import BIM, PGD, Attack, AttackResult, Ensemble, NetworkSpaceAttack, Square, Transfer
from monai_smia.victims import SegmentationVictim

CLIP = (-1024.0, 3071.0)
SEEDS = [3, 8]


def victim_of(seed: int, mode: str | int = 3) -> SegmentationVictim:
    """A segmenter behind an intensity window and a resampling, with mode 3 one that blocks the gradient."""
    window = ScaleIntensityRange(-1000, 400, 0, 1, clip=True)
    chain = [Orientation("RAS", labels=None), Spacing((2.0, 2.0, 2.0), mode=mode), window, SpatialPad([12] * 3)]
    net = network("segmentation", 3, channels=1, classes=2, seed=seed).eval()
    return SegmentationVictim(net, preprocessing=Compose(chain))


@pytest.fixture
def batch() -> tuple[MetaTensor, Tensor]:
    """Two volumes in HU, and the first network's decision as their label."""
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(2, 1, 4, 4, 4, generator=generator), (14, 12, 8))
    affine = torch.diag(torch.tensor([-1.5, 2.0, 3.0, 1.0], dtype=torch.float64))
    image = MetaTensor(smooth * 1400 - 1000, affine=affine)
    return image, victim_of(0).decide(victim_of(0).infer(image))


def by_hand(attack: Attack, victim: SegmentationVictim, image: MetaTensor, label: Tensor) -> Tensor:
    """What an attack in network space comes to: attack what the network sees, map back, project."""
    with victim.frozen(), torch.no_grad():
        bound, target = victim.bind(image, label)
        grid = bound.frozen_preprocessing
        assert grid is not None
        plain = image.as_tensor()
        seen = grid(plain)
    inside = replace_range(attack.scaled(grid.intensity_scale), (float(seen.min()), float(seen.max())))
    result = inside(victim.without_preprocessing(), seen, target, eps=attack.eps * grid.intensity_scale, seed=SEEDS)
    back = grid.back(result.perturbation) / grid.intensity_scale
    return (plain + back.clamp(-attack.eps, attack.eps)).clamp(*CLIP)


def replace_range(attack: Attack, clip: tuple[float, float]) -> Attack:
    if isinstance(attack, Ensemble):
        return replace(attack, attacks=[replace(member, clip=clip) for member in attack.attacks], clip=clip)
    if isinstance(attack, Transfer):
        return replace(attack, attack=replace(attack.attack, clip=clip), clip=clip)
    return replace(attack, clip=clip)


def best_of(results: list[AttackResult]) -> list[int]:
    """Which result did most damage to every sample, then has the highest loss."""
    count = len(results[0].damage)
    return [max(range(len(results)), key=lambda n: (results[n].damage[i], results[n].loss[i])) for i in range(count)]


@pytest.mark.parametrize("order", [1, -1])
def test_an_ensemble_of_both_spaces(batch: tuple[MetaTensor, Tensor], order: int) -> None:
    """On a chain that lets the gradient through, where both can run; the result is bit-equal to the better one's."""
    victim, (image, label) = victim_of(0, mode="bilinear"), batch
    members = [NetworkSpaceAttack(PGD(eps=70.0, steps=6, clip=CLIP)), PGD(eps=70.0, steps=2, clip=CLIP)][::order]
    worst = Ensemble(members)(victim, image, label, seed=SEEDS)
    alone = [member(victim, image, label, seed=SEEDS) for member in members]
    assert not torch.equal(alone[0].adversarial, alone[1].adversarial)
    for i, best in enumerate(best_of(alone)):
        assert torch.equal(worst.adversarial[i], alone[best].adversarial[i])
        torch.testing.assert_close(worst.damage[i], alone[best].damage[i])
    assert worst.gradients.tolist() == [8, 8]


def test_an_ensemble_names_the_transform_that_blocks_a_member(batch: tuple[MetaTensor, Tensor]) -> None:
    image, label = batch
    members = [NetworkSpaceAttack(PGD(eps=70.0, clip=CLIP)), PGD(eps=70.0, clip=CLIP)]
    with pytest.raises(ValueError, match=r"Spacing blocks the gradient.*NetworkSpaceAttack"):
        Ensemble(members)(victim_of(0), image, label)
    without = [NetworkSpaceAttack(PGD(eps=70.0, steps=2, clip=CLIP)), Square(eps=70.0, queries=3, clip=CLIP)]
    assert float(Ensemble(without)(victim_of(0), image, label).perturbation.abs().max()) > 0


def test_a_transfer_of_an_attack_in_network_space(batch: tuple[MetaTensor, Tensor]) -> None:
    victim, surrogate, (image, label) = victim_of(0), victim_of(5), batch
    attack = NetworkSpaceAttack(PGD(eps=70.0, steps=6, clip=CLIP))
    result = Transfer(attack, surrogate=surrogate)(victim, image, label, seed=SEEDS)
    assert torch.equal(result.adversarial, attack(surrogate, image, label, seed=SEEDS).adversarial)
    assert torch.equal(result.adversarial.affine, image.affine)
    with torch.no_grad():
        bound, target = victim.bind(image, label)
        expected = bound.damage(bound.predict(result.adversarial.as_tensor()), target)
    torch.testing.assert_close(result.damage.double(), expected.double())
    assert not torch.equal(result.adversarial, attack(victim, image, label, seed=SEEDS).adversarial)


@pytest.mark.parametrize(
    "attack",
    [
        PGD(eps=70.0, steps=5, step_size=20.0, clip=CLIP),
        Ensemble([PGD(eps=70.0, steps=4, clip=CLIP), BIM(eps=70.0, steps=4, step_size=35.0, clip=CLIP)]),
        Transfer(PGD(eps=70.0, steps=4, clip=CLIP), surrogate=victim_of(5).without_preprocessing()),
    ],
    ids=lambda attack: attack.name,
)
def test_network_space_of_anything(batch: tuple[MetaTensor, Tensor], attack: Attack) -> None:
    victim, (image, label) = victim_of(0), batch
    result = NetworkSpaceAttack(attack)(victim, image, label, seed=SEEDS)
    expected = by_hand(attack, victim, image, label)
    torch.testing.assert_close(result.adversarial.as_tensor(), expected, rtol=0, atol=1e-3)  # HU
    assert float(result.perturbation.abs().max()) > 35
    with torch.no_grad():
        bound, target = victim.bind(image, label)
        damage = bound.damage(bound.predict(result.adversarial.as_tensor()), target)
    torch.testing.assert_close(result.damage.double(), damage.double())


def test_three_deep(batch: tuple[MetaTensor, Tensor]) -> None:
    victim, surrogate, (image, label) = victim_of(0), victim_of(5), batch
    inner = NetworkSpaceAttack(Ensemble([PGD(eps=70.0, steps=2, clip=CLIP), BIM(eps=70.0, steps=2, clip=CLIP)]))
    both = Ensemble(attacks=[Transfer(attack=inner, surrogate=surrogate), inner])
    assert both.name == (
        "Ensemble(Transfer(NetworkSpaceAttack(Ensemble(PGD, BIM))), NetworkSpaceAttack(Ensemble(PGD, BIM)))"
    )
    assert both.planned_gradients == 8
    result = both(victim, image, label, seed=SEEDS)
    parts = [part(victim, image, label, seed=SEEDS) for part in both.attacks]
    for i, best in enumerate(best_of(parts)):
        assert torch.equal(result.adversarial[i], parts[best].adversarial[i])


def test_a_surrogate_with_preprocessing_is_refused_in_network_space(batch: tuple[MetaTensor, Tensor]) -> None:
    image, label = batch
    attack = NetworkSpaceAttack(Transfer(PGD(eps=70.0, clip=CLIP), surrogate=victim_of(5)))
    with pytest.raises(ValueError, match="surrogate must hold no preprocessing inside NetworkSpaceAttack"):
        attack(victim_of(0), image, label)


def test_the_radius_of_a_composite_and_of_a_call(batch: tuple[MetaTensor, Tensor]) -> None:
    victim, (image, label) = victim_of(0), batch
    attack = NetworkSpaceAttack(
        Ensemble([PGD(eps=70.0, steps=2, clip=CLIP), BIM(eps=70.0, steps=2, clip=CLIP)]), eps=20
    )
    assert 10 < float(attack(victim, image, label).perturbation.abs().max()) <= 20 + 1e-3
    radii = torch.tensor([5.0, 0.0])
    changes = attack(victim, image, label, eps=radii).perturbation.as_tensor().abs().amax((1, 2, 3, 4))
    assert 2 < float(changes[0]) <= 5 + 1e-3
    assert float(changes[1]) == 0
