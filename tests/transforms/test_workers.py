"""An attack in the workers of a DataLoader, started in every way there is, gives what it gives without workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from monai.data import Dataset, MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from monai.transforms import Compose, ScaleIntensityRange
from torch.utils.data import DataLoader

from monai_smia.attacks import APGD, PGD, SMIA, Ensemble
from monai_smia.transforms import ApplyAttackd
from monai_smia.victims import SegmentationVictim

CLIP = (-1024.0, 3071.0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As workers have."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def victim() -> SegmentationVictim:
    torch.manual_seed(0)
    network = UNet(spatial_dims=3, in_channels=1, out_channels=2, channels=(4, 8), strides=(2,))
    window = Compose([ScaleIntensityRange(-1000, 400, 0, 1, clip=True)])
    return SegmentationVictim(network, inferer=SlidingWindowInferer((8, 8, 8), overlap=0.5), preprocessing=window)


def attacked(**options: Any) -> list[dict[str, torch.Tensor]]:
    """What a loader gives of three cases."""
    generator = torch.Generator().manual_seed(1)
    affine = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0])).double()
    images = [MetaTensor(torch.rand(1, 12, 10, 8, generator=generator) * 1400 - 1000, affine=affine) for _ in range(3)]
    items = [{"image": image, "label": (image.as_tensor() > -300).long()} for image in images]
    attacks = [
        Ensemble(attacks=[SMIA(eps=40.0, steps=2, clip=CLIP), APGD(eps=40.0, steps=3, clip=CLIP)]),
        PGD(eps=30.0, steps=2, clip=CLIP, loss="soft_jaccard", seed=3),
    ]
    transforms = [ApplyAttackd(keys="image", attack=each, victim=victim(), label_key="label") for each in attacks]
    batches = list(DataLoader(Dataset(items, Compose(transforms)), batch_size=None, **options))
    changes = [float((batch["image"] - item["image"]).abs().max()) for batch, item in zip(batches, items, strict=True)]
    assert all(30 < change <= 70.001 for change in changes)
    return batches


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("how", ["spawn", "forkserver", "fork"])
def test_workers_change_no_bit(how: str, workers: int) -> None:
    expected = attacked()
    found = attacked(num_workers=workers, multiprocessing_context=how)
    assert len(found) == len(expected) == 3
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one["image"].as_tensor(), other["image"].as_tensor())
        assert torch.equal(one["image"].affine, other["image"].affine)
        assert torch.equal(one["label"], other["label"])
