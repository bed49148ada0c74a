"""Floating-point files voxel by voxel: the sign of every change, and what lies beyond the radius."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_smia.storage import NiftiStorage


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_change_keeps_its_sign_and_stops_at_the_radius(dtype: type, tmp_path: Path) -> None:
    values = np.array([0.0, 1.0, -2.0, 4.0, 100.0, -100.0, 0.0, 8.0], dtype).reshape(2, 2, 2)
    source = str(tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(values, np.eye(4)), source)
    storage = NiftiStorage(tmp_path / "out")
    image = storage.read(source)
    delta = torch.tensor([0.25, -0.25, 0.5, -0.5, 9.0, -9.0, 0.0, 0.125]).reshape(1, 2, 2, 2)
    path = storage.write(image, image + delta, eps=0.5, source=source, stem="a")
    found = (storage.read(path) - image).as_tensor().flatten()
    assert found.tolist() == [0.25, -0.25, 0.5, -0.5, 0.5, -0.5, 0.0, 0.125]
    change = nib.load(str(path).replace("_adversarial", "_perturbation"))
    assert np.array_equal(np.asarray(change.dataobj), delta[0].numpy())


def test_a_slope_of_the_file_is_a_unit_of_its_own(tmp_path: Path) -> None:
    """Negative slopes, too: what is stored goes the other way, what is read the right one."""
    for slope, unit in ((-2.0, 2.0), (0.25, 0.25)):
        image = nib.Nifti1Image(np.full((2, 2, 2), 10, np.int16), np.eye(4))
        image.header.set_slope_inter(slope, 3.0)
        source = str(tmp_path / "a.nii.gz")
        nib.save(image, source)
        storage = NiftiStorage(tmp_path / "out")
        clean = storage.read(source)
        delta = torch.tensor([1.4, -1.4, 0.4, -0.4, 0.0, 2.6, -2.6, 1.0]).reshape(1, 2, 2, 2) * unit
        path = storage.write(clean, clean + delta, eps=2 * unit, source=source, stem="a")
        found = ((storage.read(path) - clean).as_tensor() / unit).flatten().round().tolist()
        assert found == [1, -1, 0, 0, 0, 2, -2, 1]
