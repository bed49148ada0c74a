"""The straight-through clip: a gradient where the window's own is zero, the window's own values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from monai.transforms import (
    Compose,
    ScaleIntensityRange,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentiles,
    SpatialPad,
)
from torch import Tensor

from monai_smia.attacks import BIM
from monai_smia.victims import SegmentationVictim
from monai_smia.victims.preprocessing import FrozenPreprocessing

CHAINS: dict[str, Callable[[], Compose]] = {
    "array": lambda: Compose([ScaleIntensityRange(-1000, 400, 0, 1, clip=True), SpatialPad((9, 9, 9))]),
    "dictionary": lambda: Compose([ScaleIntensityRanged("image", -1000, 400, -1, 1, clip=True)]),
    "percentiles": lambda: Compose([ScaleIntensityRangePercentiles(10, 90, 0, 1, clip=True)]),
    "no clip": lambda: Compose([ScaleIntensityRange(-1000, 400, 0, 1)]),
}


def image() -> Tensor:
    return torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(0)) * 2000 - 1300


def gradient(frozen: FrozenPreprocessing, value: Tensor) -> Tensor:
    x = value.clone().requires_grad_(True)
    return torch.autograd.grad(frozen(x).sum(), x)[0]


@pytest.mark.parametrize("name", CHAINS)
def test_values_are_those_of_the_clip_and_the_gradient_that_of_none(name: str) -> None:
    clean = image()
    plain, through = (FrozenPreprocessing(CHAINS[name](), clean, straight_through=s) for s in (False, True))
    for value in (clean, clean + 300, clean - 300):
        assert torch.equal(plain(value), through(value))
    assert through.intensity_scale == plain.intensity_scale
    torch.testing.assert_close(gradient(through, clean), torch.full_like(clean, plain.intensity_scale))
    assert bool((gradient(plain, clean) == 0).any()) == (name != "no clip")


def air_counts(straight_through: bool) -> SegmentationVictim:
    """Segments where it is brighter than a fifth of a HU's window; the image lies 10 HU below the window."""

    class Bright(torch.nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            score = 1000 * (image - 0.01)
            return torch.cat([-score, score], 1)

    return SegmentationVictim(Bright(), preprocessing=CHAINS["array"](), straight_through=straight_through)


def test_an_attack_brings_voxels_back_into_the_window() -> None:
    air = torch.full((1, 1, 8, 8, 8), -1010.0)
    label = torch.zeros(1, 1, 8, 8, 8)
    label[..., 0, 0, 0] = 1
    attack = BIM(eps=70.0, clip=(-1024.0, 3071.0), steps=5)
    stuck, free = (attack(air_counts(s), air, label) for s in (False, True))
    assert not stuck.perturbation.any()
    assert float(free.perturbation.max()) == pytest.approx(70.0)
    assert free.damage.item() > stuck.damage.item() - 1e-6
    exact, target = air_counts(False).bind(air, label)
    torch.testing.assert_close(free.loss, exact.loss(exact.predict(free.adversarial), target))
    torch.testing.assert_close(free.damage.double(), exact.damage(exact.predict(free.adversarial), target))
