"""Gaussian, box and median filters: scipy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import ndimage

from monai_smia.degradations import Box, Median, Smooth


@pytest.mark.parametrize("shape", [(2, 1, 12, 10), (2, 1, 9, 10, 8)], ids=["2d", "3d"])
def test_filters_are_those_of_scipy(shape: Any) -> None:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
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


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Smooth(0), "sigma"),
        (lambda: Smooth(float("nan")), "sigma"),
        (lambda: Box(2), "size"),
        (lambda: Median(0), "size"),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make()
