from __future__ import annotations

import pytest
import torch
from helpers import assert_untouched, network, snapshot
from monai.data import MetaTensor
from monai.transforms import Compose, Orientation, ScaleIntensityRange, Spacing, SpatialPad

from monai_smia.attacks import PGD, SMIA, NetworkSpaceAttack, Noise
from monai_smia.victims import SegmentationVictim

WINDOW = ScaleIntensityRange(-1000, 400, 0, 1, clip=True)
CLIP = (-1024.0, 3071.0)


def case(mode: str | int) -> tuple[SegmentationVictim, MetaTensor, torch.Tensor]:
    torch.manual_seed(0)
    chain = Compose(
        [Orientation("RAS", labels=None), Spacing((2.0, 2.0, 2.0), mode=mode), WINDOW, SpatialPad([12] * 3)]
    )
    victim = SegmentationVictim(network("segmentation", 3, channels=1, classes=2).eval(), preprocessing=chain)
    affine = torch.diag(torch.tensor([-1.5, 2.0, 3.0, 1.0], dtype=torch.float64))
    smooth = torch.nn.functional.interpolate(torch.rand(1, 1, 4, 4, 4), (14, 12, 8), mode="trilinear") * 1400 - 1000
    image = MetaTensor(smooth, affine=affine)
    return victim, image, victim.decide(victim.infer(image))


@pytest.mark.parametrize(
    "attack", [PGD(eps=70.0, steps=8, clip=CLIP), SMIA(eps=70.0, steps=8, step_size=20.0, clip=CLIP)]
)
def test_an_attack_where_the_gradient_is_blocked(attack: PGD) -> None:
    victim, image, label = case(mode=3)
    with pytest.raises(ValueError, match=r"Spacing blocks the gradient.*NetworkSpaceAttack"):
        attack(victim, image, label)
    before, clean = snapshot(victim.network), image.clone()
    result = NetworkSpaceAttack(attack)(victim, image, label)
    assert_untouched(victim.network, before)
    assert torch.equal(image, clean)
    assert torch.equal(result.adversarial.affine, image.affine)
    assert 0 < float(result.perturbation.abs().max()) <= 70.0 + 1e-3
    assert float(result.adversarial.min()) >= CLIP[0]
    noise = Noise(eps=70.0, clip=CLIP)

    def damage(adversarial: torch.Tensor) -> float:
        bound, target = victim.bind(image, label)
        return float(bound.damage(bound.predict(MetaTensor(adversarial).as_tensor()), target))

    assert damage(result.adversarial) == pytest.approx(result.damage.item(), abs=1e-6)  # predicted anew
    random = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)).sub(0.5).sign() * noise.eps
    assert result.damage.item() > damage(image + random) + 0.05


def test_on_a_differentiable_chain_it_is_weaker_and_still_works() -> None:
    victim, image, label = case(mode="bilinear")
    attack = PGD(eps=70.0, steps=8, clip=CLIP)
    through, mapped = attack(victim, image, label), NetworkSpaceAttack(attack)(victim, image, label)
    assert 0.05 < mapped.damage.item() <= through.damage.item()


def test_mask_and_radius_of_a_call() -> None:
    victim, image, label = case(mode=3)
    mask = torch.zeros(image.shape, dtype=torch.bool)
    mask[..., :6, :, :] = True
    result = NetworkSpaceAttack(PGD(eps=70.0, steps=2, clip=CLIP))(victim, image, label, mask=mask, eps=30.0)
    assert not result.perturbation[~mask].any()
    assert 0 < float(result.perturbation.abs().max()) <= 30.0 + 1e-3


def test_it_takes_the_settings_of_its_attack() -> None:
    attack = PGD(eps=3.0, steps=4, seed=7, loss="soft_jaccard", progress=False)
    wrapped = NetworkSpaceAttack(attack)
    taken = ("eps", "norm", "clip", "targeted", "seed", "loss", "progress", "planned_gradients")
    assert {name: getattr(wrapped, name) for name in taken} == {name: getattr(attack, name) for name in taken}
    assert wrapped.name == "NetworkSpaceAttack(PGD)"
    assert NetworkSpaceAttack(attack, eps=1.0).eps == 1.0


def test_what_cannot_be_mapped_is_refused() -> None:
    victim, image, label = case(mode=3)
    with pytest.raises(ValueError, match="norm='linf'"):
        NetworkSpaceAttack(PGD(eps=3.0, norm="l2", clip=None))(victim, image, label)
    with pytest.raises(ValueError, match="must hold a preprocessing"):
        NetworkSpaceAttack(PGD(eps=3.0, clip=None))(victim.without_preprocessing(), image, label)
