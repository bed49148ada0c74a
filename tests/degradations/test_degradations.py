"""What happens to an image on its way: facts about every degradation, and its gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from monai_smia.degradations import AddNoise, Box, Compress, Degradation, Median, Quantize, Resample, Smooth, Identity

SMOOTH: list[Degradation] = [Identity(), Smooth(0.6), Smooth(1.0), Box(3), Resample(2.0), Resample(0.7), AddNoise(0.1)]
STRAIGHT: list[Degradation] = [Median(3), Quantize(0.1), Compress("jpeg", 50), Compress("jpeg2000", 10, levels=4095)]
every_rank = pytest.mark.parametrize("shape", [(2, 1, 12, 10), (2, 1, 9, 10, 8)], ids=["2d", "3d"])


def rand(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@every_rank
@pytest.mark.parametrize("degradation", [*SMOOTH, *STRAIGHT], ids=str)
def test_a_batch_is_handled_sample_by_sample_and_the_input_is_left_alone(degradation: Degradation, shape: Any) -> None:
    image = rand(shape)
    before = image.clone()
    degraded = degradation(image)
    assert torch.equal(image, before)
    assert (degraded.shape, degraded.dtype) == (image.shape, image.dtype)
    torch.testing.assert_close(degraded[1:], degradation(image[1:]))
    assert torch.equal(degraded, degradation(image))
    if not isinstance(degradation, Identity):
        assert not torch.allclose(degraded, image, atol=1e-3)


@every_rank
@pytest.mark.parametrize("degradation", SMOOTH, ids=str)
def test_gradient(degradation: Degradation, shape: Any) -> None:
    """All of these are affine: the gradient of <weight, degradation(x)> predicts every difference exactly."""
    image, other, weight = rand(shape).requires_grad_(True), rand(shape).flip(-1), rand(shape).flip(-2)
    value = (weight * degradation(image)).sum()
    (gradient,) = torch.autograd.grad(value, image)
    difference = (weight * (degradation(other) - degradation(image))).sum()
    torch.testing.assert_close((gradient * (other - image)).sum(), difference)


@every_rank
@pytest.mark.parametrize("degradation", STRAIGHT, ids=str)
def test_gradient_passes_straight_through(degradation: Degradation, shape: Any) -> None:
    image = rand(shape).requires_grad_(True)
    (gradient,) = torch.autograd.grad(degradation(image).square().sum(), image)
    torch.testing.assert_close(gradient, 2 * degradation(image).detach())


@every_rank
def test_filters_are_those_of_scipy(shape: Any) -> None:
    image = rand(shape)
    inside = (..., *[slice(4, -4)] * (len(shape) - 2))  # scipy's border "nearest" is ours, but only separably so
    expected = [
        (Smooth(1.0), lambda x: ndimage.gaussian_filter(x, 1.0, mode="nearest")),
        (Box(3), lambda x: ndimage.uniform_filter(x, 3, mode="nearest")),
        (Median(3), lambda x: ndimage.median_filter(x, 3, mode="nearest")),
    ]
    for degradation, reference in expected:
        got = degradation(image)
        for sample in range(2):
            wanted = torch.from_numpy(reference(image[sample, 0].numpy()))
            torch.testing.assert_close(got[sample, 0][inside[1:]], wanted[inside[1:]])


def test_a_constant_image_stays() -> None:
    image = torch.full((1, 1, 11, 9), 0.6)
    for degradation in (Smooth(2.0), Box(5), Resample(3.0), Median(5), Quantize(0.2)):
        torch.testing.assert_close(degradation(image), image)


def test_quantised_values_are_whole_steps() -> None:
    degraded = Quantize(0.25)(rand((1, 1, 20, 20)))
    assert sorted(degraded.unique().tolist()) == [0, 0.25, 0.5, 0.75, 1]


def test_compression_works_in_the_images_unit() -> None:
    """Smooth HU come back to a few HU; more compression, more error; values outside the range are clipped."""
    grid = torch.linspace(-1, 1, 64)
    hu = (600 * (grid[:, None] * grid).sin() - 300)[None, None, :, :, None].repeat(1, 1, 1, 1, 3)
    errors = [float((Compress("jpeg2000", q, low=-1024, high=3071, levels=4095)(hu) - hu).abs().max()) for q in (2, 40)]
    assert errors[0] <= 2 < errors[1] < 400
    photo = Smooth(2.0)(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    errors = [float((Compress("jpeg", q)(photo) - photo).abs().mean()) for q in (95, 5)]
    assert errors[0] < 0.02 < errors[1]
    assert float(Compress("jpeg", 95)(photo + 1).max()) <= 1 + 1e-6


def test_noise_is_the_same_in_every_call_and_has_its_size() -> None:
    image = torch.zeros(1, 1, 100, 100)
    assert float(AddNoise(0.3)(image).std()) == pytest.approx(0.3, rel=0.03)
    assert not torch.equal(AddNoise(0.3)(image), AddNoise(0.3, seed=1)(image))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Smooth(0), "sigma"),
        (lambda: Smooth(float("nan")), "sigma"),
        (lambda: Box(2), "size"),
        (lambda: Median(0), "size"),
        (lambda: Resample(-1), "factor"),
        (lambda: AddNoise(-0.1), "sigma"),
        (lambda: Quantize(0), "step"),
        (lambda: Compress("png"), "codec"),
        (lambda: Compress("jpeg", 100), "quality"),
        (lambda: Compress("jpeg", low=1, high=0), "low"),
        (lambda: Compress("jpeg", levels=4095), "levels"),
        (lambda: Compress()(torch.zeros(1, 2, 8, 8)), "channels"),
    ],
)
def test_bad_arguments_are_named(make: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make()
