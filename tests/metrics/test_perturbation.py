from __future__ import annotations

import math

import pytest
import torch

from monai_smia.metrics import l2_norm, linf_norm, mean_cosine, perturbation_metrics, positive_cosine, rms, variance


def test_values_by_hand() -> None:
    perturbation = torch.tensor([[[[3.0, -1.0], [0.0, 0.0]]], [[[2.0, 2.0], [2.0, 2.0]]]])
    assert linf_norm(perturbation).tolist() == [3.0, 2.0]
    assert l2_norm(perturbation).tolist() == pytest.approx([math.sqrt(10), 4.0])
    assert variance(perturbation, 2.0).tolist() == pytest.approx([(10 / 4 - 0.25) / 4, 0.0])
    assert rms(perturbation, 2.0).tolist() == pytest.approx([math.sqrt(10 / 4) / 2, 1.0])


def test_variance_is_blind_to_a_shift_and_rms_is_not() -> None:
    perturbation = torch.randn(1, 1, 8, 8)
    shifted = perturbation + 5.0
    assert variance(shifted, 1.0).item() == pytest.approx(variance(perturbation, 1.0).item(), rel=1e-5)
    assert rms(shifted, 1.0) > 2 * rms(perturbation, 1.0)


def test_cosines() -> None:
    cosine = torch.tensor([[0.5, -0.5], [-0.1, -0.2], [0.2, torch.nan]])
    assert positive_cosine(cosine).tolist() == pytest.approx([200 / 3, 0.0])
    assert mean_cosine(cosine).tolist() == pytest.approx([0.2, -0.35])
    assert positive_cosine(torch.zeros(0, 2)).isnan().all()
    assert mean_cosine(torch.zeros(0, 2)).isnan().all()


def test_psnr_relates_to_the_data_range() -> None:
    image = torch.zeros(1, 1, 8, 8)
    values = perturbation_metrics(image + 14.0, image, torch.zeros(0, 1), eps=14.0, data_range=1400.0)
    assert values["psnr"].item() == pytest.approx(40.0)
    assert set(values) == {"linf", "l2", "var", "rms", "cos", "cos_mean", "ssim", "psnr", "at_bound"}
    assert values["at_bound"].item() == 1.0


@pytest.mark.parametrize("shape", [(1, 9, 1), (1, 2, 9), (1, 9, 9, 2)])
def test_an_axis_too_short_to_compare_leaves_the_similarity_undefined(shape: tuple[int, ...]) -> None:
    """It was a ZeroDivisionError, and the case failed."""
    image = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    values = perturbation_metrics(image + 0.1, image, torch.zeros(0, 2), eps=0.1, data_range=1.0)
    assert values["ssim"].isnan().all()
    assert values["linf"].tolist() == pytest.approx([0.1, 0.1])
    assert values["psnr"].tolist() == pytest.approx([20.0, 20.0], rel=1e-4)
