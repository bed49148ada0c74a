"""What is measured of iterates and steps, beside PyTorch's own functions in double precision."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from monai_smia.attacks.measures import cosine, is_zero, length, perturbation_stats


@pytest.mark.parametrize("voxels", [1, 7, 3_000_000])
def test_perturbation_stats(voxels: int) -> None:
    """To float32's own precision, whatever the number of voxels and the shift that they share."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(3, 1, voxels)
    adversarial = torch.randn(3, 1, voxels, generator=generator) + torch.tensor([0.0, 5.0, -5.0]).view(3, 1, 1)
    before = adversarial.clone()
    largest, variance = perturbation_stats(adversarial, image)
    exact = adversarial.double().flatten(1)
    torch.testing.assert_close(largest.double(), exact.abs().amax(1), rtol=0, atol=0)
    torch.testing.assert_close(variance.double(), exact.var(1, correction=0), rtol=1e-5, atol=1e-12)
    assert torch.equal(adversarial, before)


def test_cosine() -> None:
    one, other = torch.randn(2, 4, 2, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one[2] = 0
    expected = F.cosine_similarity(one.flatten(1), other.flatten(1))
    torch.testing.assert_close(cosine(one, other, length(one) * length(other)), expected)
    assert cosine(one, other, length(one) * length(other))[2] == 0
    tiny = 1e-12 * one
    torch.testing.assert_close(cosine(tiny, other, length(tiny) * length(other)), expected)  # however small the step


def test_is_zero() -> None:
    steps = torch.zeros(4, 1, 3, 3)
    steps[1, 0, 2, 2], steps[2, 0, 0, 1], steps[3] = 1e-45, -1.0, torch.nan
    assert is_zero(steps).tolist() == [True, False, False, False]
