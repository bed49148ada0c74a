from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_smia.data import DropFreeAird, thorax_phantom


def test_airways_and_gas_leave_a_label_that_counts_them_as_lung() -> None:
    phantom = thorax_phantom((128, 104, 100), (2.8, 2.8, 3.0), seed=5)
    image = torch.from_numpy(phantom.image).float()[None]
    thresholded = (image < -320) & torch.from_numpy(phantom.lung_mask).bool()
    trachea = torch.zeros_like(thresholded)
    inside = (slice(None), slice(52, 76), slice(40, 70), slice(70, 95))  # the middle of the chest, above the carina
    trachea[inside] = (image < -900)[inside] & ~thresholded[inside]
    assert trachea.sum() > 200
    label = (thresholded | trachea).float()
    repaired = DropFreeAird("label")({"image": image, "label": label})["label"]
    assert repaired[trachea].mean() < 0.1
    assert repaired[thresholded].mean() > 0.98


def test_metadata_and_type_stay() -> None:
    label = MetaTensor(torch.ones(1, 8, 8, 8, dtype=torch.uint8), affine=torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])))
    image = torch.full((1, 8, 8, 8), -1000.0)
    repaired = DropFreeAird("label", min_voxels=8)({"image": image, "label": label})["label"]
    assert isinstance(repaired, MetaTensor)
    assert repaired.dtype == torch.uint8
    assert torch.equal(repaired.affine, label.affine)
    assert not repaired.any()
    assert label.all()


@pytest.mark.parametrize("hu", [-850.0, -300.0])
def test_lung_and_tissue_stay(hu: float) -> None:
    label = torch.ones(1, 8, 8, 8)
    image = torch.from_numpy(np.full((1, 8, 8, 8), hu, np.float32))
    assert DropFreeAird("label")({"image": image, "label": label})["label"].all()
