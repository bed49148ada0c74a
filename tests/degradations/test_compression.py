"""Rounding and lossy compression, in the unit of the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from monai_smia.degradations import Compress, Quantize, Smooth


def test_quantized_values_are_whole_steps() -> None:
    degraded = Quantize(0.25)(torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0)))
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


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Quantize(0), "step"),
        (lambda: Compress("png"), "codec"),
        (lambda: Compress("jpeg", 100), "quality"),
        (lambda: Compress("jpeg", low=1, high=0), "low"),
        (lambda: Compress("jpeg", levels=4095), "levels"),
        (lambda: Compress()(torch.zeros(1, 2, 8, 8)), "channels"),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make()
