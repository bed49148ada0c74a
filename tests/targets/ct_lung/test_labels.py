from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_smia.targets.ct_lung import DropFreeAird, thorax_phantom


def test_gas_leaves_a_label_that_counts_it_as_lung() -> None:
    """A phantom's chest with a bubble of stomach gas under the left dome, as a threshold sees it."""
    phantom = thorax_phantom((128, 104, 100), (2.8, 2.8, 3.0), seed=5)
    image = torch.from_numpy(phantom.image).float()[None]
    lung = torch.from_numpy(phantom.lung_mask).bool()[None]
    place = torch.stack(torch.meshgrid(*(torch.arange(n) for n in lung.shape[1:]), indexing="ij")).float()
    bubble = ((place - torch.tensor([45.0, 60.0, 12.0]).view(3, 1, 1, 1)).norm(dim=0) < 7)[None] & ~lung
    assert bubble.sum() > 500
    image[bubble] = -1000.0
    repaired = DropFreeAird("label")({"image": image, "label": (lung | bubble).float()})["label"]
    assert repaired[bubble].mean() < 0.05
    assert repaired[lung].mean() > 0.98


def test_no_shell_is_left_around_the_gas() -> None:
    """Its edge is half air and as bright as lung."""
    place = torch.stack(torch.meshgrid(*(torch.arange(40.0) for _ in range(3)), indexing="ij"))
    gas = (9.5 - (place - 12).norm(dim=0)).div(3).add(0.5).clamp(0, 1)
    lung = (place[0] >= 26).float()
    image = (40 - 1040 * gas - 890 * lung)[None]
    label = (image < -320).float()
    assert ((label[0] > 0) & (image[0] > -700) & (gas > 0)).sum() > 300
    repaired = DropFreeAird("label")({"image": image, "label": label})["label"][0]
    assert not repaired[gas > 0].any()
    assert torch.equal(repaired[lung > 0], label[0][lung > 0])


def test_metadata_and_type_stay() -> None:
    label = MetaTensor(torch.ones(1, 8, 8, 8, dtype=torch.uint8), affine=torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])))
    image = torch.full((1, 8, 8, 8), -1000.0)
    repaired = DropFreeAird("label", min_voxels=8)({"image": image, "label": label})["label"]
    assert isinstance(repaired, MetaTensor)
    assert repaired.dtype == torch.uint8
    assert torch.equal(repaired.affine, label.affine)
    assert not repaired.any()
    assert label.all()


def test_partial_volume_of_lung_stays() -> None:
    label = torch.linspace(0, 1, 8).expand(1, 8, 8, 8)
    image = torch.full((1, 8, 8, 8), -850.0)
    assert torch.equal(DropFreeAird("label")({"image": image, "label": label})["label"], label)


@pytest.mark.parametrize("hu", [-850.0, -300.0])
def test_lung_and_tissue_stay(hu: float) -> None:
    label = torch.ones(1, 8, 8, 8)
    image = torch.from_numpy(np.full((1, 8, 8, 8), hu, np.float32))
    assert DropFreeAird("label")({"image": image, "label": label})["label"].all()
