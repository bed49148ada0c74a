"""nnU-Net's resampling in torch: its values, and a gradient that is the exact adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

nnunetv2 = pytest.importorskip("nnunetv2", reason="needs nnunetv2: pip install 'monai_smia[nnunet]'")

from monai_smia.adapters.nnunet.resampling import NONE, SPLINE, TORCH, Resampling  # noqa: E402

RNG = np.random.default_rng(0)
ORDERS = [(3, 0, None), (1, 0, None), (3, 1, True), (2, 0, False), (0, 0, None), (3, 3, None)]
SPACINGS = [[1.0, 1.0, 1.0], [5.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.2, 5.0], [5.0, 5.0, 1.0]]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("order", "order_z", "separate"), ORDERS)
def test_values_are_nnunets(order: int, order_z: int, separate: bool | None, spacing: list[float]) -> None:
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    options = {"is_seg": False, "order": order, "order_z": order_z, "force_separate_z": separate}
    for _ in range(8):
        image, shape = RNG.normal(size=(2, *RNG.integers(2, 17, 3))) * 100, RNG.integers(2, 21, 3)
        shape[0] = image.shape[1] if RNG.random() < 0.3 else shape[0]
        theirs = resample_data_or_seg_to_shape(image.copy(), shape, spacing, [1.0, 1.0, 1.0], **options)
        ours = Resampling.of_plan(SPLINE, options)(torch.from_numpy(image), shape.tolist(), spacing, [1.0, 1.0, 1.0])
        assert np.abs(ours.numpy() - theirs).max() < 1e-10


@pytest.mark.parametrize("spacing", SPACINGS)
def test_values_are_those_of_its_resampling_in_torch(spacing: list[float]) -> None:
    from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

    for _ in range(8):
        image, shape = torch.from_numpy(RNG.normal(size=(2, *RNG.integers(2, 17, 3)))), RNG.integers(2, 21, 3).tolist()
        theirs = resample_torch_fornnunet(image.float(), shape, spacing, [1.0, 1.0, 1.0], force_separate_z=None)
        ours = Resampling.of_plan(TORCH, {"force_separate_z": None})(image, shape, spacing, [1.0, 1.0, 1.0])
        assert float((ours - theirs).abs().max()) < 1e-5


@pytest.mark.parametrize("spacing", [[1.0, 1.0, 1.0], [5.0, 1.0, 1.0]])
def test_gradient_is_that_of_finite_differences_of_nnunets_own(spacing: list[float]) -> None:
    """Of the function outside of torch, with scikit-image's clipping, which many voxels of a short axis meet."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    options: dict[str, Any] = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    image, shape, new = RNG.normal(size=(1, 3, 6, 5)), (5, 9, 8), [1.0, 1.0, 1.0]
    weights = RNG.normal(size=(1, *shape))

    def loss(values: np.ndarray) -> float:
        return float((resample_data_or_seg_to_shape(values.copy(), shape, spacing, new, **options) * weights).sum())

    leaf = torch.from_numpy(image).requires_grad_(True)
    output = Resampling.of_plan(SPLINE, options)(leaf, shape, spacing, new)
    at_bounds = (output == leaf.amax()) | (output == leaf.amin())
    assert bool(at_bounds.any()) or spacing[0] > 1
    (gradient,) = torch.autograd.grad((output * torch.from_numpy(weights)).sum(), leaf)
    step = 1e-5
    for place in np.ndindex(image.shape):
        moved = np.zeros_like(image)
        moved[place] = step
        numeric = (loss(image + moved) - loss(image - moved)) / (2 * step)
        assert float(gradient[place]) == pytest.approx(numeric, abs=1e-6)


def test_what_it_leaves_alone_and_refuses() -> None:
    image = torch.rand(1, 4, 4, 4)
    assert Resampling(NONE)(image, (5, 5, 5), [1.0] * 3, [1.0] * 3) is image
    assert Resampling(SPLINE)(image, (4, 4, 4), [2.0] * 3, [1.0] * 3) is image
    with pytest.raises(ValueError, match="got 'resample_by_magic' in the plans"):
        Resampling.of_plan("resample_by_magic", {})
