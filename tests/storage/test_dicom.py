from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from dicom_files import AFFINE, planes, save, stored_volume
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    EnsureChannelFirst,
    EnsureChannelFirstd,
    LoadImage,
    LoadImaged,
    ScaleIntensityRange,
)
from pydicom.dataset import FileDataset

from monai_smia.attacks import PGD
from monai_smia.data import DicomSeriesReader, read_dicom_series, scanned_voxels
from monai_smia.dicom.writer import write_dicom_series
from monai_smia.evaluation import AttackEvaluation, PlannedAttack
from monai_smia.metrics import SegmentationMetrics
from monai_smia.storage import DicomStorage, FormatStorage, PhotographStorage
from monai_smia.storage.dicom import stored_units
from monai_smia.storage.dicom_pictures import DicomPictureStorage
from monai_smia.victims import SegmentationVictim


def source(folder: Path, datasets: list[FileDataset] | None = None) -> str:
    save(datasets or planes(), folder / "source")
    return str(folder / "source")


def with_slope(slope: str) -> list[FileDataset]:
    datasets = planes(stored_volume() + 100)  # away from the stored bits' end
    for ds in datasets:
        ds.RescaleSlope = slope
    return datasets


@pytest.mark.parametrize("value", ["false", "False", "", 0, 1, None, np.False_])
@pytest.mark.parametrize("storage", [DicomStorage, FormatStorage, PhotographStorage, DicomPictureStorage])
def test_text_does_not_say_that_a_source_may_be_identified(storage: Any, value: Any, tmp_path: Path) -> None:
    """ "false" would be taken for true, and a picture of somebody be written."""
    with pytest.raises(ValueError, match=re.escape(f"identified must be True or False, got {value!r}.")):
        storage(tmp_path / "out", identified=value)


@pytest.mark.parametrize("name", ["identified", "same_study"])
def test_nor_does_it_say_so_to_the_writer(name: str, tmp_path: Path) -> None:
    series = read_dicom_series(source(tmp_path))
    with pytest.raises(ValueError, match=f"{name} must be True or False, got 'false'"):
        write_dicom_series(series, series.stored(), tmp_path / "out", **{name: "false"})
    with pytest.raises(ValueError, match=f"{name} must be True or False, got 'false'"):
        DicomStorage(tmp_path / "out", **{name: "false"})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("slope", ["1", "0.5", "0.3", "2"])
@pytest.mark.parametrize("eps", [2.0, 3.3, 20.0])
def test_eps_is_obeyed_exactly(slope: str, eps: float, tmp_path: Path) -> None:
    series = source(tmp_path, with_slope(slope))
    storage = DicomStorage(tmp_path / "out")
    image = storage.read(series)
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)) * 2.2 - 1.1
    path = storage.write(image, image + noise * eps, eps=eps, source=series, stem="a_pgd")
    units = stored_units(path, series)
    most = Fraction(int(np.abs(units).max())) * Fraction(slope)
    assert Fraction(str(eps)) - Fraction(slope) < most <= Fraction(str(eps))
    rounded = (noise[0] * eps / float(slope)).round().numpy()
    inside = np.abs(rounded * float(slope)) <= eps
    assert np.mean(units[inside] == rounded[inside]) > 0.99  # float32 decides a tie here and there
    assert np.abs(units[inside] - rounded[inside]).max() <= 1
    assert torch.equal(storage.read(path).affine, image.affine)
    told = pydicom.dcmread(next(path.iterdir())).DerivationDescription
    assert f"by at most {eps:g} HU, {np.abs(units).max()} stored units." in told


def test_less_than_one_unit_is_refused(tmp_path: Path) -> None:
    series = source(tmp_path)
    storage = DicomStorage(tmp_path / "out")
    image = storage.read(series)
    with pytest.raises(ValueError, match=r"eps=0\.9 is less than one stored unit.*at least 1"):
        storage.write(image, image + 0.9, eps=0.9, source=series, stem="a")


@pytest.mark.parametrize("padding", [(0, 0), (63, 40), (4095, 4095), (1000, 1000)])
def test_padding_stays_and_none_is_made(padding: tuple[int, int], tmp_path: Path) -> None:
    value, limit = padding
    volume = stored_volume()
    volume[:3] = value
    volume[5] = np.clip(np.arange(volume[5].size).reshape(volume[5].shape) % 7 - 3 + value, 0, 4095)  # next to it
    datasets = planes(volume)
    for ds in datasets:
        ds.PixelPaddingValue = value
        if limit != value:
            ds.PixelPaddingRangeLimit = limit
    series = source(tmp_path, datasets)
    storage = DicomStorage(tmp_path / "out")
    image = storage.read(series)
    low, high = min(padding), max(padding)
    was = (volume >= low) & (volume <= high)
    assert was.any()
    assert image.meta["padding"] == [low - 1024, high - 1024]
    for sign in (-1, 1):
        path = storage.write(image, image + 5.0 * sign, eps=5.0, source=series, stem=f"a{sign}")
        units = stored_units(path, series)
        after = volume + units
        assert np.array_equal((after >= low) & (after <= high), was)
        assert not units[was].any()
        assert np.abs(units).max() == 5


def test_values_stop_at_the_stored_bits(tmp_path: Path) -> None:
    volume = np.full((4, 4, 3), 4094)
    volume[0] = 1
    series = source(tmp_path, planes(volume))
    storage = DicomStorage(tmp_path / "out")
    image = storage.read(series)
    up, down = (storage.write(image, image + d, eps=5.0, source=series, stem=f"{d:g}") for d in (5.0, -5.0))
    assert stored_units(up, series)[1:].max() == 1
    assert stored_units(down, series)[0].min() == -1


@pytest.mark.parametrize("what", ["shape", "affine"])
def test_an_image_off_the_grid_is_refused(what: str, tmp_path: Path) -> None:
    series = source(tmp_path)
    storage = DicomStorage(tmp_path / "out")
    image = storage.read(series)
    other = image[:, 1:] if what == "shape" else MetaTensor(image.as_tensor(), affine=torch.eye(4))
    with pytest.raises(ValueError, match="must be on the grid of its series"):
        storage.write(other, other + 2, eps=2.0, source=series, stem="a")


def test_one_of_two_series_in_a_folder(tmp_path: Path) -> None:
    """Which one, the image's metadata say."""
    series = source(tmp_path, planes())
    uid = read_dicom_series(series).uid
    other = planes(stored_volume(1))
    for ds in other:
        ds.PixelPaddingValue = 0
    save(other, Path(series) / "other")
    image = EnsureChannelFirst()(LoadImage(reader=DicomSeriesReader(uid), image_only=True)(series))
    assert bool(scanned_voxels(image, series).all())
    written = DicomStorage(tmp_path / "out").write(image, image + 2, eps=2.0, source=series, stem="a")
    assert np.array_equal(read_dicom_series(written).stored(), read_dicom_series(series, uid).stored() + 2)


def test_padding_is_left_alone_by_the_attack(tmp_path: Path) -> None:
    volume = stored_volume()
    volume[:3] = 0  # -1024 HU, inside of the attacks' valid range
    datasets = planes(volume)
    for ds in datasets:
        ds.PixelPaddingValue = 0
    series = source(tmp_path, datasets)
    label = np.zeros(volume.shape, np.uint8)
    label[4:8, 2:6, 1:4] = 1
    nib.save(nib.Nifti1Image(label, AFFINE), tmp_path / "label.nii.gz")
    keys = ["image", "label"]
    window = Compose([ScaleIntensityRange(-1000, 400, 0, 1, clip=True)])
    evaluation = AttackEvaluation(
        cases=[{"case": "a", "image": series, "label": str(tmp_path / "label.nii.gz")}],
        loading=Compose([LoadImaged(keys, reader=DicomSeriesReader(), image_only=True), EnsureChannelFirstd(keys)]),
        victim=SegmentationVictim(torch.nn.Conv3d(1, 2, 3, padding=1), preprocessing=window),
        attacks=[PlannedAttack(), PlannedAttack(PGD(eps=20.0, steps=2, clip=(-1024.0, 3071.0)), 20 / 1400)],
        metrics=SegmentationMetrics(2),
        output_dir=tmp_path / "out",
        storage=DicomStorage(tmp_path / "out" / "volumes"),
        write_volumes="all",
        progress=False,
    )
    for _ in range(2):  # and once more, in the place of what was written
        summary = evaluation.run()
        assert [row["stage"] for row in summary["rows"]] == ["computed", "computed", "stored"]
        (folder,) = (path for path in (tmp_path / "out" / "volumes").iterdir() if path.is_dir())  # SEG lie beside it
        units = stored_units(folder, series)
        assert not units[:3].any()
        assert np.abs(units).max() == 20
        evaluation.resume = False
    evaluation.write_volumes = "none"
    evaluation.run()
    assert not list((tmp_path / "out" / "volumes").iterdir())  # a folder goes whole


@pytest.mark.parametrize("slopes", [["1"] * 5, ["0.5", "1", "2", "0.3", "1"]])
def test_the_l2_norm_holds_over_all_planes(slopes: list[str], tmp_path: Path) -> None:
    """Each plane with its own slope, as in PET."""
    datasets = planes(stored_volume() + 100)
    for ds, slope in zip(datasets, slopes * 9, strict=False):
        ds.RescaleSlope = slope
    series = source(tmp_path, datasets)
    storage = DicomStorage(tmp_path / "out")
    image = storage.read(series)
    delta = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)) * 0.6
    eps = float(delta.double().norm())
    path = storage.write(image, image + delta, eps=eps, source=series, stem="a_pgd", norm="l2")
    units = stored_units(path, series)
    by_plane = np.array([plane.slope for plane in read_dicom_series(series).slices])
    assert 0 < np.sqrt(((units * by_plane) ** 2).sum()) <= eps * (1 + 1e-12)
