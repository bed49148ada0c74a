"""What a DICOM series marks as padding was not scanned: no attack changes it, in what the network is shown.

The writer keeps padding on its own account, so that stored files would not tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bundles.zoo_inference import dicom_segmentation
from dicom_files import planes, save, stored_volume
from monai.bundle import ConfigParser
from monai.transforms import Compose, EnsureChannelFirst, LoadImage
from torch import Tensor, nn

from monai_smia.adapters.monai_bundle import bundle_evaluation
from monai_smia.attacks import PGD
from monai_smia.dicom import DicomSeriesReader, scanned_voxels
from monai_smia.evaluation import AttackEvaluation, PlannedAttack
from monai_smia.metrics import SegmentationMetrics
from monai_smia.victims import SegmentationVictim

PADDED = 3  # columns


class Witness(nn.Module):
    """A network that keeps every volume that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv3d(1, 2, 3, padding=1)
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image.detach().clone())
        return self.conv(image / 1000)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A series whose first columns are padding, at a value that an attack may otherwise take."""
    volume = stored_volume()
    volume[:PADDED] = 0
    datasets = planes(volume)
    for ds in datasets:
        ds.PixelPaddingValue = 0
    save(datasets, tmp_path / "series")
    return tmp_path / "series"


@pytest.mark.parametrize("named_by", ["metadata", "mask"])
def test_the_attack_leaves_it_alone(named_by: str, series: Path, tmp_path: Path) -> None:
    """Padding is told by the reader's metadata, or by a mask that `loading` gives."""

    def loading(item: dict[str, Any]) -> dict[str, Any]:
        image = Compose([LoadImage(reader=DicomSeriesReader(), image_only=True), EnsureChannelFirst()])(item["image"])
        mask = scanned_voxels(image, item["image"])
        if named_by == "mask":
            image.meta.pop("padding")
        label = (image.as_tensor() > 0).long()
        return {"image": image, "label": label} | ({"mask": mask} if named_by == "mask" else {})

    network = Witness()
    AttackEvaluation(
        cases=[{"case": "a", "image": str(series), "label": None}],
        loading=loading,
        victim=SegmentationVictim(network),
        attacks=[PlannedAttack(), PlannedAttack(PGD(eps=20.0, steps=2, clip=(-1024.0, 3071.0)), 20.0)],
        metrics=SegmentationMetrics(2),
        output_dir=tmp_path / "out",
        progress=False,
    ).run()
    changes = torch.stack([image - network.seen[0] for image in network.seen])[:, 0, 0]
    assert float(changes.abs().max()) == 20.0
    assert not changes[:, :PADDED].any()


@pytest.mark.parametrize("space", ["scanner", "network"])
@pytest.mark.parametrize("reader", ["monai_smia.data.DicomSeriesReader", None])
def test_the_overlay_masks_it_for_every_reader(reader: str | None, space: str, tmp_path: Path) -> None:
    bundle = dicom_segmentation(tmp_path / "lungs", reader, files=False)
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser["bundle_root"] = str(bundle)
    evaluation = bundle_evaluation(
        parser.get_parsed_content("evaluator"),
        postprocessing=parser.get_parsed_content("postprocessing"),
        output_dir=str(tmp_path / "out"),
        space=space,
        progress=False,
    )
    case = evaluation.loading(evaluation.cases[0])
    mask, image = case["mask"], case["image"]
    assert mask.shape == image.shape
    values = image.as_tensor()
    padding, tissue = (-1024.0, -900.0) if space == "scanner" else (0.0, 0.1)
    assert bool((values == padding).any())
    assert not mask[values == padding].any()
    assert bool(mask[values > tissue].all())
