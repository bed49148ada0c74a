from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from skimage.metrics import structural_similarity

from monai_smia.metrics import perturbation_metrics
from monai_smia.metrics.similarity import StructuralSimilarity


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 41, 47, 23), (3, 5, 9), (1, 20, 4, 3), (2, 30)])
def test_the_values_of_scikit_image_to_the_last_digit(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    image = (torch.randn(shape, generator=draw, dtype=dtype) * 400 - 400).round()
    similarity = StructuralSimilarity(image, data_range=1400.0)
    window = min(7, *shape[1:])
    for size in (0.0, 14.0, 70.0, 1400.0):  # the clean half is the same for all of them
        noisy = image + size * torch.rand(shape, generator=draw, dtype=dtype)
        pair = (noisy.numpy(), image.numpy())
        options = {"data_range": 1400.0, "win_size": window - 1 + window % 2, "channel_axis": 0}
        assert similarity(noisy) == float(structural_similarity(*pair, **options))
    assert similarity(image) == 1.0


def test_every_sample_has_its_own_clean_image() -> None:
    image = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    attacked = image + torch.tensor([0.01, 0.5]).view(2, 1, 1, 1) * torch.randn(image.shape)
    shared = [StructuralSimilarity(sample, 1.0) for sample in image]
    found = [
        perturbation_metrics(attacked, image, torch.zeros(0, 2), eps=1.0, data_range=1.0, similarities=known)["ssim"]
        for known in (None, shared)
    ]
    assert torch.equal(*found)
    assert 1 > found[0][0] > found[0][1]


def test_metadata_and_half_precision_are_looked_through() -> None:
    image = torch.rand(1, 9, 9, generator=torch.Generator().manual_seed(0))
    assert StructuralSimilarity(MetaTensor(image), 1.0)(MetaTensor(image)) == 1.0
    assert StructuralSimilarity(image.half(), 1.0)(image.half()) == 1.0


def test_wrong_input_is_named() -> None:
    image = torch.rand(1, 9, 9)
    with pytest.raises(ValueError, match="data_range must be above 0, got 0"):
        StructuralSimilarity(image, 0)
    with pytest.raises(ValueError, match=r"the clean image's shape \(1, 9, 9\), got \(1, 9, 8\)"):
        StructuralSimilarity(image, 1.0)(image[..., :8])
