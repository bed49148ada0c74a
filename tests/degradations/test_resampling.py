"""Resampling: linear interpolation to a grid of longer voxels and back."""

from __future__ import annotations

import pytest
import torch

from monai_smia.degradations import Resample


def test_by_hand() -> None:
    """Pairs are averaged; halfway between two of their centers lies a quarter of the one and three of the other."""
    image = torch.tensor([0.0, 2.0, 4.0, 8.0]).view(1, 1, 1, 4).expand(1, 1, 2, 4)
    expected = torch.tensor([1.0, 2.25, 4.75, 6.0])
    torch.testing.assert_close(Resample(2.0)(image)[0, 0, 0], expected)


def test_a_factor_of_one_changes_nothing() -> None:
    image = torch.rand(1, 2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Resample(1.0)(image), image)


def test_a_single_voxel_is_left_of_a_short_axis() -> None:
    image = torch.rand(1, 1, 2, 8, generator=torch.Generator().manual_seed(0))
    degraded = Resample(8.0)(image)
    torch.testing.assert_close(degraded, degraded[..., :1, :1].expand_as(image))


@pytest.mark.parametrize("factor", [-1.0, 0.0, float("inf")])
def test_bad_arguments_are_named(factor: float) -> None:
    with pytest.raises(ValueError, match="factor must be a finite number > 0"):
        Resample(factor)
