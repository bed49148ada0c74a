"""All degradations: sample by sample, the input left alone, and the gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from monai_smia import degradations
from monai_smia.degradations import AddNoise, Box, Compress, Degradation, Identity, Median, Quantize, Resample, Smooth

SMOOTH: list[Degradation] = [Identity(), Smooth(0.6), Smooth(1.0), Box(3), Resample(2.0), Resample(0.7), AddNoise(0.1)]
STRAIGHT: list[Degradation] = [Median(3), Quantize(0.1), Compress("jpeg", 50), Compress("jpeg2000", 10, levels=4095)]
every_rank = pytest.mark.parametrize("shape", [(2, 1, 12, 10), (2, 1, 9, 10, 8)], ids=["2d", "3d"])


def rand(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@every_rank
@pytest.mark.parametrize("degradation", [*SMOOTH, *STRAIGHT], ids=str)
def test_a_batch_is_degraded_sample_by_sample_and_the_input_is_left_alone(degradation: Degradation, shape: Any) -> None:
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


def test_a_constant_image_stays() -> None:
    image = torch.full((1, 1, 11, 9), 0.6)
    for degradation in (Smooth(2.0), Box(5), Resample(3.0), Median(5), Quantize(0.2)):
        torch.testing.assert_close(degradation(image), image)


@pytest.mark.parametrize("name", ["AddNoise", "Box", "Compress", "Median", "Resample", "Smooth"])
def test_old_names_are_the_same_classes(name: str) -> None:
    from monai_smia import handling

    with pytest.warns(DeprecationWarning, match=rf"handling.{name} is deprecated .* monai_smia.degradations.{name}"):
        assert getattr(handling, name) is getattr(degradations, name)


@pytest.mark.parametrize(
    ("old", "new"), [("Handling", "Degradation"), ("Quantise", "Quantize"), ("Untouched", "Identity")]
)
def test_renamed_classes(old: str, new: str) -> None:
    from monai_smia import handling

    with pytest.warns(DeprecationWarning, match=f"handling.{old} is deprecated .* monai_smia.degradations.{new}"):
        assert getattr(handling, old) is getattr(degradations, new)


def test_smoothing_had_a_module_of_its_own() -> None:
    with pytest.warns(DeprecationWarning, match="monai_smia.degradations.smoothing.smooth"):
        from monai_smia.smoothing import smooth
    assert smooth is degradations.smoothing.smooth


@pytest.mark.parametrize("degradation", [Smooth(1.0), Box(3), Median(3), Resample(2.0)], ids=str)
@pytest.mark.parametrize("shape", [(16,), (16, 16)])
def test_an_image_without_batch_and_channels_is_refused(degradation: Degradation, shape: tuple[int, ...]) -> None:
    """There would be no axis left to filter along: it came back as it was."""
    with pytest.raises(ValueError, match=r"image must be a batch \(B, C, \*spatial\) to be degraded, got \(16,"):
        degradation(torch.rand(shape))
