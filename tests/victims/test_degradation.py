"""Victims behind a degradation."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch
from detectors import cell_label, cells, colored, small_retina
from helpers import case, network
from monai.transforms import Compose, ScaleIntensity
from torch import Tensor, nn

from monai_smia.degradations import Degradation, Quantize, Smooth
from monai_smia.victims import DetectionVictim, SegmentationVictim, degraded


@pytest.mark.parametrize("degradation", [Smooth(0.8), Quantize(0.25)])
def test_predictions_are_those_of_the_degraded_image(degradation: Degradation) -> None:
    """Also of a bound victim, its copies and its subsets; the victim is untouched."""
    victim = SegmentationVictim(network("segmentation", 2).double().eval())
    image = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = victim.predict(image)
    other = degraded(victim, degradation)
    expected = victim.predict(degradation(image))
    assert not torch.equal(expected, before)
    bound, _ = other.bind(image, torch.zeros(3, 1, 8, 8))
    everything = torch.ones(3, dtype=torch.bool)
    copied = pickle.loads(pickle.dumps(other))
    for one in (other, bound, other.with_loss("soft_jaccard"), other.subset(everything), replace(other), copied):
        assert torch.equal(one.predict(image), expected)
        assert isinstance(one, SegmentationVictim)
    assert torch.equal(victim.predict(image), before)


def test_is_the_victim_with_that_argument() -> None:
    c = case("segmentation", 2)
    made, helped = replace(c.victim, degradation=Smooth(0.8)), degraded(c.victim, Smooth(0.8))
    assert torch.equal(made.predict(c.image), helped.predict(c.image))
    assert type(helped) is type(c.victim)


def test_preprocessing_is_frozen_on_the_image_as_given() -> None:
    """Not on the smoothed one, whose range is narrower."""
    victim = SegmentationVictim(nn.Identity(), preprocessing=Compose([ScaleIntensity()]))
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    smooth = Smooth(1.0)
    low, high = image.aminmax()
    expected = (smooth(image) - low) / (high - low)
    other = degraded(victim, smooth)
    bound, _ = other.bind(image, torch.zeros(1, 1, 8, 8))
    torch.testing.assert_close(bound.predict(image), expected)
    torch.testing.assert_close(
        degraded(victim.bind(image, torch.zeros(1, 1, 8, 8))[0], smooth).predict(image), expected
    )
    torch.testing.assert_close(other.network(bound.network_input(image)), expected)


def test_the_gradient_passes() -> None:
    victim, smooth, image = SegmentationVictim(nn.Identity()), Smooth(1.0), torch.rand(1, 1, 8, 8, requires_grad=True)
    (expected,) = torch.autograd.grad(victim.predict(smooth(image))[..., 4, 4].sum(), image)
    (gradient,) = torch.autograd.grad(degraded(victim, smooth).predict(image)[..., 4, 4].sum(), image)
    assert torch.equal(gradient, expected)
    assert 0 < float(gradient[..., 4, 4]) < 0.5


def test_of_a_detector() -> None:
    victim = cells()

    def darker(image: Tensor) -> Tensor:
        return image - 0.4

    image, label = colored((0.7, 0.2, 0.2), (0.2, 0.7, 0.2)), [cell_label(0, 1)]
    other = degraded(victim, darker)
    assert isinstance(other, DetectionVictim)
    assert float(victim.damage(victim.predict(image), label)) == 0
    assert float(other.damage(other.predict(image), label)) == 1
    retina, frames = degraded(small_retina(), Smooth(0.8)), torch.rand(1, 2, 64, 64, dtype=torch.float64)
    for got, expected in zip(
        retina.predict(frames)["classification"],
        small_retina().predict(Smooth(0.8)(frames))["classification"],
        strict=True,
    ):
        assert torch.equal(got, expected)


def test_a_second_one_is_refused() -> None:
    victim = degraded(case("segmentation", 2).victim, Smooth(0.8))
    with pytest.raises(ValueError, match=r"must have no degradation yet, it has Smooth\(.*chain the two in one"):
        degraded(victim, Quantize(0.25))
