"""Smoothing by shifted sums: MONAI's values, and the gradient of a self-adjoint filter."""

from __future__ import annotations

import pytest
import torch
from monai.networks.layers import separable_filtering

from monai_smia.degradations.smoothing import gaussian_taps, smooth


@pytest.mark.parametrize("radius", [0, 1, 2, 5])
@pytest.mark.parametrize("shape", [(2, 3, 7, 9), (1, 2, 4, 6, 5), (3, 1, 1, 2)])
def test_values_are_monai_s(shape: tuple[int, ...], radius: int) -> None:
    """Kernels that are longer than an axis included."""
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    taps = gaussian_taps(radius, 1.3)
    kernel = torch.tensor(taps[:0:-1] + taps, dtype=torch.float64)
    assert float(kernel.sum()) == pytest.approx(1)
    expected = separable_filtering(image, [kernel] * (len(shape) - 2), mode="zeros")
    torch.testing.assert_close(smooth(image, taps), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [(2, 1, 5, 4), (1, 2, 3, 4, 2)])
def test_gradient(shape: tuple[int, ...]) -> None:
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: smooth(x, gaussian_taps(2, 1.0)), image)
