"""The shift of an application's image, against the shift itself on the same volume."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("monai.deploy.core", reason="needs monai-deploy-app-sdk: pip install 'monai_smia[deploy]'")

from monai.deploy.core import Fragment
from monai.deploy.core.domain.image import Image

from monai_smia.adapters.monai_deploy import ShiftOperator
from monai_smia.shifts import Defocus, Dose, HUOffset, RigidMotion, ShiftChain

SPACING = {"col_pixel_spacing": 0.7, "row_pixel_spacing": 0.7, "depth_pixel_spacing": 2.5}
AFFINE = np.diag([-0.7, -0.7, 2.5, 1.0])


def image(values: np.ndarray, **changed: Any) -> Image:
    """As the SDK makes it: planes, rows, columns."""
    return Image(values, {**SPACING, "affine": AFFINE, "nifti_affine_transform": AFFINE, **changed})


def volume() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (np.arange(8 * 10 * 12).reshape(8, 10, 12) % 90 * 10 + rng.integers(-1000, 0, (8, 10, 12))).astype(np.int16)


def test_the_image_is_that_of_the_shift_by_its_own_axes_and_spacing(caplog: pytest.LogCaptureFixture) -> None:
    motion = RigidMotion(severity=4)
    values = motion.at_severity(4, 3, torch.Generator().manual_seed(5))
    before = volume()
    operator = ShiftOperator(Fragment(), shift=motion, seed=5, name="motion")
    with caplog.at_level(logging.INFO):
        after = operator.degraded(image(before, kept="as it was"))
    batch = torch.from_numpy(before.astype(np.float32).transpose(2, 1, 0).copy())[None, None]
    expected = motion(batch, values, spacing=(0.7, 0.7, 2.5))[0, 0].numpy().transpose(2, 1, 0)
    assert np.array_equal(after.asnumpy(), np.rint(expected).astype(np.int16))
    assert not np.array_equal(after.asnumpy(), before)
    other = motion(batch, values, spacing=(1.0, 1.0, 1.0))[0, 0].numpy().transpose(2, 1, 0)
    assert not np.array_equal(after.asnumpy(), np.rint(other).astype(np.int16))  # it takes millimeters
    assert after.metadata()["kept"] == "as it was"
    assert f"The image was shifted: {motion.title}, {motion.describe(values, 3)}." in caplog.text


def test_values_are_those_given_and_neutral_ones_change_nothing() -> None:
    before = volume()
    offset = ShiftOperator(Fragment(), shift=HUOffset(), values=[12.0], name="offset").degraded(image(before))
    assert np.array_equal(offset.asnumpy(), before + 12)
    assert offset.asnumpy().dtype == np.int16
    chain = ShiftChain(shifts=(HUOffset(), Dose()))
    still = ShiftOperator(Fragment(), shift=chain, values=[float(v) for v in chain.neutral(3)], name="still")
    assert np.array_equal(still.degraded(image(before)).asnumpy(), before)
    over = ShiftOperator(Fragment(), shift=HUOffset(), values=[40.0], name="over")
    assert int(over.degraded(image(np.full((3, 3, 3), 32760, np.int16))).asnumpy().max()) == 32767


def test_an_image_of_which_the_size_of_voxels_is_not_known_or_is_told_twice_is_refused() -> None:
    operator = ShiftOperator(Fragment(), shift=RigidMotion(), name="motion")
    with pytest.raises(ValueError, match="must say the size of its voxels"):
        operator.degraded(Image(volume(), {}))
    with pytest.raises(ValueError, match=r"must have the spacing of its pixels, 0.6 x 0.7, and has 0.7 x 0.7 .*swaps"):
        operator.degraded(image(volume(), row_pixel_spacing=0.6))
    bare = operator.degraded(Image(volume(), dict(SPACING)))  # no affine, but the spacing
    assert np.array_equal(bare.asnumpy(), operator.degraded(image(volume())).asnumpy())


def test_arguments_that_do_not_fit_are_refused() -> None:
    make = partial(ShiftOperator, Fragment(), name="shift")
    for arguments, text in (
        ({"shift": "Dose"}, "shift must be one of monai_smia.shifts that takes volumes, got 'Dose'"),
        ({"shift": Defocus()}, "shift must be one of monai_smia.shifts that takes volumes"),
        ({"shift": HUOffset(), "values": [1.0, 2.0]}, "values must be the 1 parameters of HU offset"),
        ({"shift": HUOffset(), "values": [float("nan")]}, "values must be finite"),
        ({"shift": HUOffset(), "seed": -1}, "seed must be a whole number >= 0"),
    ):
        with pytest.raises(ValueError, match=text):
            make(**arguments)
