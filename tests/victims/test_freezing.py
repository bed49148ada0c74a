"""Transforms that decide from the image, frozen: the same on the clean image, and nothing moves them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from chains import CHAINS, apply, body, with_background
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    NormalizeIntensity,
    NormalizeIntensityd,
    ScaleIntensity,
    ScaleIntensityd,
    ScaleIntensityRange,
    ScaleIntensityRangePercentiles,
    ScaleIntensityRangePercentilesd,
)

from monai_smia.victims import SegmentationVictim
from monai_smia.victims.preprocessing import FrozenPreprocessing

NORMALIZERS: dict[str, tuple[Callable, Callable]] = {
    "normalize": (NormalizeIntensity(), NormalizeIntensityd("image")),
    "normalize nonzero": (NormalizeIntensity(nonzero=True), NormalizeIntensityd("image", nonzero=True)),
    "normalize channels": (NormalizeIntensity(channel_wise=True), NormalizeIntensityd("image", channel_wise=True)),
    "normalize nonzero channels": (
        NormalizeIntensity(nonzero=True, channel_wise=True),
        NormalizeIntensityd("image", nonzero=True, channel_wise=True),
    ),
    "normalize given": (
        NormalizeIntensity(subtrahend=3.0, divisor=7.0),
        NormalizeIntensityd("image", subtrahend=3.0, divisor=7.0),
    ),
    "normalize half given": (NormalizeIntensity(divisor=7.0), NormalizeIntensityd("image", divisor=7.0)),
    "scale": (ScaleIntensity(), ScaleIntensityd("image")),
    "scale to": (ScaleIntensity(-1.0, 3.0), ScaleIntensityd("image", -1.0, 3.0)),
    "scale factor": (
        ScaleIntensity(minv=None, maxv=None, factor=0.5),
        ScaleIntensityd("image", minv=None, maxv=None, factor=0.5),
    ),
    "percentiles": (
        ScaleIntensityRangePercentiles(5, 95, 0, 1, clip=True),
        ScaleIntensityRangePercentilesd("image", 5, 95, 0, 1, clip=True),
    ),
    "percentiles relative": (
        ScaleIntensityRangePercentiles(5, 95, 0, 1, relative=True),
        ScaleIntensityRangePercentilesd("image", 5, 95, 0, 1, relative=True),
    ),
    "percentiles centred": (
        ScaleIntensityRangePercentiles(5, 95, None, None),
        ScaleIntensityRangePercentilesd("image", 5, 95, None, None),
    ),
}


@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("name", NORMALIZERS)
class TestNormalizers:
    def test_clean_output(self, name: str, dictionary: bool) -> None:
        image, compose = with_background(), Compose([NORMALIZERS[name][dictionary]])
        expected = apply(compose, MetaTensor(image))
        torch.testing.assert_close(FrozenPreprocessing(compose, image)(image), expected.as_tensor())

    def test_statistics_are_those_of_the_clean_image(self, name: str, dictionary: bool) -> None:
        """What happens to one voxel changes no other."""
        image, compose = with_background(), Compose([NORMALIZERS[name][dictionary]])
        frozen, moved = FrozenPreprocessing(compose, image), image.clone()
        before, place = frozen(image), (0, 10, 7, 9)
        assert moved[place] > 0
        moved[place] = 900.0
        changed = frozen(moved) != before
        changed[place] = False
        assert not changed.any()
        if not name.endswith((" given", "factor")) or "half" in name:
            plain = apply(compose, MetaTensor(moved)).as_tensor()
            assert not torch.equal(plain, frozen(moved))

    def test_gradient_is_the_scale(self, name: str, dictionary: bool) -> None:
        x = with_background().requires_grad_(True)
        frozen = FrozenPreprocessing(Compose([NORMALIZERS[name][dictionary]]), with_background())
        (gradient,) = torch.autograd.grad(frozen(x)[:, 10, 7, 9].sum(), x)
        step = torch.zeros_like(x)
        step[:, 10, 7, 9] = 1.0
        slope = (frozen(x + step) - frozen(x - step)).detach()[:, 10, 7, 9] / 2
        torch.testing.assert_close(gradient[:, 10, 7, 9], slope, rtol=1e-3, atol=1e-6)
        if "channels" in name:
            with pytest.raises(ValueError, match="NormalizeIntensity scales channels differently"):
                _ = frozen.intensity_scale
        else:
            inside = slope[:1] if name == "percentiles" else slope  # the bright channel is clipped there
            torch.testing.assert_close(inside, torch.full_like(inside, frozen.intensity_scale), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    "transform", [ScaleIntensity(channel_wise=True), ScaleIntensityRangePercentiles(5, 95, 0, 1, channel_wise=True)]
)
def test_channel_by_channel(transform: Callable) -> None:
    """What is frozen is MONAI's own on the clean image, follows nothing, and has a slope for every channel."""
    image = with_background()
    frozen = FrozenPreprocessing(Compose([transform]), image)
    torch.testing.assert_close(frozen(image), transform(MetaTensor(image)).as_tensor())
    moved = image.clone()
    moved[:, 10, 7, 9] = 900.0
    torch.testing.assert_close(frozen(moved)[:, :10], frozen(image)[:, :10], rtol=0, atol=0)
    slopes = frozen(image + 1e-2)[:, 0, 0, 0] - frozen(image)[:, 0, 0, 0]
    torch.testing.assert_close(frozen.intensity_scales.float() * 1e-2, slopes, rtol=1e-2, atol=1e-6)
    with pytest.raises(ValueError, match="scales channels differently"):
        _ = frozen.intensity_scale


class TestIntensityScale:
    @pytest.mark.parametrize("name", ["array", "array lazy", "dictionary", "nested"])
    def test_hounsfield_to_network(self, name: str) -> None:
        assert FrozenPreprocessing(CHAINS[name](), body()).intensity_scale == pytest.approx(1 / 1400)

    def test_of_a_chain_is_the_product(self) -> None:
        chain = Compose([ScaleIntensityRange(-1000, 400, 0, 2), NormalizeIntensity(subtrahend=0.5, divisor=0.25)])
        assert FrozenPreprocessing(chain, body()).intensity_scale == pytest.approx(2 / 1400 / 0.25)

    def test_of_a_victim(self) -> None:
        """A perturbation of 14 HU inside the window is one of 0.01 for the network."""
        window = Compose([ScaleIntensityRange(-1000, 400, 0, 1, clip=True)])
        victim = SegmentationVictim(torch.nn.Identity(), preprocessing=window)
        scale = victim.intensity_scale()
        image = torch.full((1, 1, 4, 4, 4), -300.0)
        torch.testing.assert_close(
            victim.predict(image + 14) - victim.predict(image), torch.full_like(image, 14 * scale)
        )


@pytest.mark.parametrize(
    "transform", [ScaleIntensity(), NormalizeIntensity(), ScaleIntensityRangePercentiles(1, 99, 0, 1)]
)
def test_a_scale_taken_from_the_image_asks_for_the_image(transform: Callable) -> None:
    victim = SegmentationVictim(torch.nn.Conv2d(1, 2, 1), preprocessing=Compose([transform]))
    with pytest.raises(ValueError, match="image must be given"):
        victim.intensity_scale()
    assert victim.intensity_scale(torch.rand(1, 1, 8, 8)) > 0


def test_float64_percentiles_are_those_of_numpy() -> None:
    image = with_background()
    frozen = FrozenPreprocessing(Compose([ScaleIntensityRangePercentiles(5, 95, 0, 1)]), image)
    low, high = np.percentile(image.numpy(), [5, 95])
    assert frozen.intensity_scale == pytest.approx(1 / (high - low), rel=1e-5)
