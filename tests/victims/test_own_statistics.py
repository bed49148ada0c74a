"""Normalization by an image's own statistics, with the gradient through them: equal to autograd of the same formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    NormalizeIntensity,
    NormalizeIntensityd,
    ScaleIntensity,
    ScaleIntensityRangePercentiles,
    ScaleIntensityRangePercentilesd,
)
from torch import Tensor, nn

from monai_smia.attacks import PGD
from monai_smia.victims import SegmentationVictim
from monai_smia.victims.own_statistics import percentile_of
from monai_smia.victims.preprocessing import FrozenPreprocessing

DOUBLE = np.float64


def mri(channels: int = 2, seed: int = 0) -> Tensor:
    """Sequences of very different scales, with a background of zeros, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(channels, 9, 8, 7, generator=generator, dtype=torch.double)
    image = image * torch.tensor([900.0, 40.0][:channels], dtype=torch.double).view(-1, 1, 1, 1) + 20
    image[:, :2] = 0
    return image


def z_scores(image: Tensor, *, nonzero: bool, each: bool) -> Tensor:
    """The formula, in plain torch."""
    done = []
    for channel in image if each else [image]:
        there = channel != 0 if nonzero else torch.ones_like(channel, dtype=torch.bool)
        voxels = channel[there]
        scaled = (channel - voxels.mean()) / voxels.std(correction=0)
        done.append(torch.where(there, scaled, channel))
    return torch.stack(done) if each else done[0]


def percentiles(image: Tensor, *, each: bool, clip: bool) -> Tensor:
    done = []
    for channel in image if each else [image]:
        flat = channel.flatten()
        low, high = torch.quantile(flat, 0.3), torch.quantile(flat, 0.95)
        scaled = (channel - low) / (high - low) * 2 - 1
        done.append(scaled.clamp(-1, 1) if clip else scaled)
    return torch.stack(done) if each else done[0]


def extrema(image: Tensor, *, each: bool) -> Tensor:
    done = [(c - c.amin()) / (c.amax() - c.amin()) * 4 - 1 for c in (image if each else [image])]
    return torch.stack(done) if each else done[0]


CASES: dict[str, tuple[Callable, Callable]] = {
    f"z-scores, nonzero {nonzero}, channels {each}": (
        NormalizeIntensity(nonzero=nonzero, channel_wise=each, dtype=DOUBLE),
        lambda x, nonzero=nonzero, each=each: z_scores(x, nonzero=nonzero, each=each),
    )
    for nonzero in (False, True)
    for each in (False, True)
}
CASES |= {
    f"percentiles, clip {clip}, channels {each}": (
        ScaleIntensityRangePercentiles(30, 95, -1, 1, clip=clip, channel_wise=each, dtype=DOUBLE),
        lambda x, each=each, clip=clip: percentiles(x, each=each, clip=clip),
    )
    for clip in (False, True)
    for each in (False, True)
}
CASES |= {
    f"extrema, channels {each}": (
        ScaleIntensity(-1.0, 3.0, channel_wise=each, dtype=DOUBLE),
        lambda x, each=each: extrema(x, each=each),
    )
    for each in (False, True)
}


@pytest.mark.parametrize("name", CASES)
class TestOwnStatistics:
    def test_values_are_those_of_monai_on_any_image(self, name: str) -> None:
        """Not on the clean image alone: what is attacked is normalized by its own statistics, as deployed."""
        array, clean = CASES[name][0], mri()
        chain = FrozenPreprocessing(Compose([array]), clean, statistics="differentiate")
        other = clean + 30 * torch.rand(clean.shape, dtype=torch.double) * (clean != 0)
        torch.testing.assert_close(chain(other), array(MetaTensor(other)).as_tensor(), rtol=1e-5, atol=1e-5)
        frozen = FrozenPreprocessing(Compose([array]), clean)
        assert (frozen(other) - chain(other)).abs().max() > 1e-2

    def test_the_gradient_is_that_of_autograd(self, name: str) -> None:
        array, formula = CASES[name]
        chain = FrozenPreprocessing(Compose([array]), mri(), statistics="differentiate")
        weights = torch.rand(mri().shape, generator=torch.Generator().manual_seed(1), dtype=torch.double)
        image = (mri(seed=3)).requires_grad_(True)
        (ours,) = torch.autograd.grad((weights * chain(image).square()).sum(), image)
        (theirs,) = torch.autograd.grad((weights * formula(image).square()).sum(), image)
        assert (ours - theirs).abs().max() <= 1e-10 * theirs.abs().max()


@pytest.mark.parametrize("share", [0, 0.3, 5, 37, 99.9, 100])
def test_percentiles_are_those_of_numpy(share: float) -> None:
    values = torch.randn(3, 401, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    assert percentile_of(values, share).item() == pytest.approx(np.percentile(values.numpy(), share), abs=1e-12)


def test_equal_values_share_the_gradient_of_a_percentile() -> None:
    values = torch.tensor([0.0, 0.0, 0.0, 0.0, 7.0], requires_grad=True)
    assert torch.autograd.grad(percentile_of(values, 25), values)[0].tolist() == [0.25, 0.25, 0.25, 0.25, 0.0]


def test_a_blank_channel_stays_finite() -> None:
    """A sequence that is missing is a file of zeros."""
    image = mri()
    image[1] = 0
    for array in (
        NormalizeIntensity(nonzero=True, channel_wise=True),
        ScaleIntensity(channel_wise=True),
        ScaleIntensityRangePercentiles(1, 99, 0, 1, channel_wise=True),
    ):
        chain = FrozenPreprocessing(Compose([array]), image.float(), statistics="differentiate")
        leaf = image.float().requires_grad_(True)
        output = chain(leaf)
        (gradient,) = torch.autograd.grad(output.square().sum(), leaf)
        assert bool(output.isfinite().all())
        assert bool(gradient.isfinite().all())


def bright(network_sees: Callable[[Tensor], Tensor] | None = None) -> SegmentationVictim:
    """A network that takes for the object what is brighter than the image's own mean."""
    network = nn.Conv3d(1, 2, 3, padding=1)
    with torch.no_grad():
        network.weight.zero_()
        network.bias.zero_()
        network.weight[1] = 1 / 9
    return SegmentationVictim(network)


@pytest.mark.parametrize(
    "normalize", [NormalizeIntensityd("image"), ScaleIntensityRangePercentilesd("image", 1, 99, -1, 1)]
)
def test_an_attack_through_the_statistics_is_at_least_as_strong(normalize: Callable) -> None:
    """At equal radius, measured by the pipeline as deployed: statistics of the attacked image itself."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 1, 12, 12, 12, generator=generator) * 100
    image[..., 3:9, 3:9, 3:9] += 60
    deployed = bright()
    label = deployed.decide(deployed.predict(Compose([normalize])({"image": image[0]})["image"][None].as_tensor()))
    damages = {}
    for statistics in ("differentiate", "freeze"):
        victim = bright()
        victim.preprocessing, victim.statistics = Compose([normalize]), statistics
        attack = PGD(eps=12.0, steps=20, clip=None, random_start=False)
        adversarial = attack(victim, image, label).adversarial
        seen = Compose([normalize])({"image": adversarial[0].clone()})["image"][None].as_tensor()
        damages[statistics] = float(deployed.damage(deployed.predict(seen), label)[0])
    assert damages["differentiate"] >= damages["freeze"] > 0.02


def test_statistics_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"statistics must be one of \('differentiate', 'freeze'\), got 'frozen'"):
        SegmentationVictim(nn.Identity(), statistics="frozen")
