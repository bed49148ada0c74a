"""Rounding and lossy compression, in the unit of the image."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

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


@pytest.mark.parametrize("codec", ["jpeg", "jpeg2000"])
def test_a_picture_is_compressed_upright(codec: str) -> None:
    """The values are those of a file that holds the picture as it is looked at: rows downwards."""
    rows = torch.linspace(0, 1, 24)[:, None] * torch.linspace(0.2, 1, 40) ** 2
    texture = 0.2 * torch.rand(24, 40, generator=torch.Generator().manual_seed(0))
    upright = ((rows + texture).clamp(0, 1)[None, None] * 255).round() / 255  # (1, 1, H, W)
    pixels = (upright[0, 0] * 255).round().numpy().astype(np.uint16 if codec == "jpeg2000" else np.uint8)
    buffer = io.BytesIO()
    options = {"quality_mode": "rates", "quality_layers": [10], "irreversible": True}
    Image.fromarray(pixels).save(buffer, codec.upper(), **(options if codec == "jpeg2000" else {"quality": 50}))
    expected = torch.from_numpy(np.asarray(Image.open(buffer)).astype(np.float32)) / 255
    quality = 10 if codec == "jpeg2000" else 50
    loaded = upright.transpose(2, 3)  # as MONAI loads it, columns first
    torch.testing.assert_close(Compress(codec, quality)(loaded)[0, 0].T, expected)
    torch.testing.assert_close(Compress(codec, quality, width_first=False)(upright)[0, 0], expected)
    volume = torch.stack([loaded[0], loaded[0].flip(2)], -1)[None]  # two planes
    torch.testing.assert_close(Compress(codec, quality)(volume)[0, 0, :, :, 0].T, expected)
    lying = Compress(codec, quality, width_first=False)(loaded)[0, 0].T
    assert float((lying - expected).abs().max()) > 1 / 255


def test_whole_steps_by_default() -> None:
    assert Quantize()(torch.tensor([[[0.4, 0.6, 1.2, -2.7]]])).tolist() == [[[0.0, 1.0, 1.0, -3.0]]]
