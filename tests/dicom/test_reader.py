"""Series as hospitals have them: each is refused and its fault named, or read right; none is silently wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_faults import REFUSED, changed, jpeg_cut, second_series
from dicom_files import AFFINE, SHAPE, planes, save, stored_volume
from dicom_varieties import READ
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import (
    Compose,
    EnsureChannelFirst,
    EnsureChannelFirstd,
    LoadImage,
    LoadImaged,
    Orientationd,
    Resized,
    Spacingd,
)
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from monai_smia.dicom import DicomSeriesError, DicomSeriesReader, find_dicom_series, read_dicom_series, scanned_voxels

HU = stored_volume() - 1024.0


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str, tmp_path: Path) -> None:
    spoil, message = REFUSED[name]
    folder = tmp_path / "series"
    spoil(planes(), folder)
    if (folder / "x.part").exists():
        folder = folder / "x.part"
    with pytest.raises(DicomSeriesError, match=message) as caught:
        read_dicom_series(folder).values()
    assert "SECRET" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(DicomSeriesError, match=message):  # and no other reader steps in
        LoadImage(reader=DicomSeriesReader())(folder)


@pytest.mark.parametrize("name", READ)
@pytest.mark.filterwarnings("ignore:.*(DS|long|exceeds).*")
def test_read_right(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "series"
    READ[name](planes(), folder)
    image = LoadImage(reader="monai_smia.data.DicomSeriesReader", image_only=True)(folder)
    assert np.array_equal(image.numpy(), HU)
    expected = AFFINE @ np.diag([1, 1, 0.5, 1]) if "1.25 mm" in name else AFFINE
    assert np.allclose(image.affine, expected, atol=0.03 if "rounded" in name else 1e-9)
    assert len(set(image.meta["source_uids"])) == (1 if "multi-frame" in name else SHAPE[2])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_file_cut_anywhere_is_named(syntax: str, tmp_path: Path) -> None:
    datasets = planes()
    for ds in datasets:
        ds.file_meta.TransferSyntaxUID = syntax
    path = save(datasets, tmp_path)[2]
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 5):
        path.write_bytes(whole[:length])
        with pytest.raises(DicomSeriesError, match=path.name):
            read_dicom_series(tmp_path).values()


def test_warnings_do_not_tell_the_folder(tmp_path: Path) -> None:
    """pydicom quotes the path of a file that it warns of, and folders are named after patients."""
    folder = tmp_path / "SECRET^NAME"
    jpeg_cut(planes(), folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(DicomSeriesError):
            read_dicom_series(folder).values()
    assert any("End of file" in str(w.message) for w in caught)
    assert not any("SECRET" in str(w.message) for w in caught)


def test_no_bit_of_a_header_changes_a_figure_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """200 drawn bits: refused, or said, or what was read before; a plane may lie a twentieth of a pixel elsewhere."""
    draw, refused = np.random.default_rng(0), 0
    paths = save(planes(), tmp_path)
    end = paths[0].read_bytes().index(b"\xe0\x7f\x10\x00")  # where the pixels begin
    for _ in range(200):
        path = paths[int(draw.integers(len(paths)))]
        whole = path.read_bytes()
        spoilt = bytearray(whole)
        spoilt[int(draw.integers(128, end))] ^= 1 << int(draw.integers(8))
        path.write_bytes(spoilt)
        caplog.clear()
        try:
            series = read_dicom_series(tmp_path)
            said = "RescaleSlope or RescaleIntercept" in caplog.text
            assert said or np.array_equal(series.values(), HU)
            assert np.allclose(series.affine, AFFINE, atol=0.03)
        except DicomSeriesError:
            refused += 1
        path.write_bytes(whole)
    assert 20 < refused < 180


@pytest.mark.parametrize(("lossy", "masked"), [("00", 0.1), ("01", 0.5)])
def test_padding_that_compression_has_moved(lossy: str, masked: float, tmp_path: Path) -> None:
    """Half of the voxels are padding, -2000 HU, most of it moved by up to 20."""
    datasets = planes()
    draw = np.random.default_rng(0)
    for ds in datasets:
        stored = np.frombuffer(ds.PixelData, "<u2").astype("<i2") - 1024
        stored[:40] = -2000
        stored[8:40] += draw.integers(1, 21, 32).astype("<i2")
        ds.PixelData = stored.tobytes()
        changed(ds, PixelRepresentation=1, RescaleIntercept=0, BitsStored=16, HighBit=15, LossyImageCompression=lossy)
        ds.add_new("PixelPaddingValue", "SS", -2000)
    save(datasets, tmp_path)
    image = EnsureChannelFirst()(LoadImage(reader=DicomSeriesReader(), image_only=True)(tmp_path))
    assert float((~scanned_voxels(image, tmp_path)).float().mean()) == pytest.approx(masked)


def test_padding_of_signed_pixels_without_its_sign(tmp_path: Path) -> None:
    """-2000 as 63536, as some scanners have it."""
    datasets = planes()
    for ds in datasets:
        stored = np.frombuffer(ds.PixelData, "<u2").astype("<i2") - 1024
        stored[:10] = -2000
        ds.PixelData = stored.tobytes()
        changed(ds, PixelRepresentation=1, RescaleIntercept=0, BitsStored=16, HighBit=15)
        ds.add_new("PixelPaddingValue", "US", 63536)
    save(datasets, tmp_path)
    assert read_dicom_series(tmp_path).padding == (-2000, -2000)


def test_there_are_enough_of_them() -> None:
    assert len(REFUSED) >= 25
    assert len(REFUSED) + len(READ) >= 50


@pytest.mark.parametrize("orientation", [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [0.6, 0.8, 0, 0, 0, -1]])
def test_affine_and_values_are_those_of_itk(orientation: list[float], tmp_path: Path) -> None:
    """Axial, sagittal and oblique; ITK sorts along the normal too, so planes and affine agree as they are."""
    datasets = planes()
    normal = np.cross(orientation[:3], orientation[3:])
    for index, ds in enumerate(datasets):
        ds.ImageOrientationPatient = orientation
        ds.ImagePositionPatient = [round(float(v), 9) for v in np.array([5.0, -7.0, 3.0]) + 2.5 * index * normal]
    save(datasets, tmp_path / "series")
    ours, itk = (
        LoadImage(reader=reader, image_only=True)(tmp_path / "series") for reader in (DicomSeriesReader(), "ITKReader")
    )
    assert np.array_equal(ours.numpy(), itk.numpy())
    assert np.allclose(ours.affine, itk.affine, atol=1e-6)


def test_one_of_two_series_by_its_uid(tmp_path: Path) -> None:
    second_series(planes(), tmp_path)
    found = find_dicom_series(tmp_path)
    values = [read_dicom_series(tmp_path, uid).values() for uid in found]
    assert np.array_equal(values[0], HU)
    assert np.array_equal(values[1], stored_volume(1) - 1024.0)
    for files, value in zip(found.values(), values, strict=True):  # the files of a series, as an item's image
        assert np.array_equal(LoadImage(reader=DicomSeriesReader(), image_only=True)(files), value)
    with pytest.raises(DicomSeriesError, match=r"found no series '1\.2'"):
        read_dicom_series(tmp_path, "1.2")


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_dicom_series(tmp_path / "gone")


def test_other_files_are_left_to_other_readers(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(stored_volume().astype(np.int16), np.eye(4)), tmp_path / "ct.nii.gz")
    image = LoadImage(reader=DicomSeriesReader(), image_only=True)(tmp_path / "ct.nii.gz")
    assert np.array_equal(image, stored_volume())


def test_in_a_pipeline(tmp_path: Path) -> None:
    """Chosen by its suffix when registered; metadata survive a loader's collation."""
    save(planes(), tmp_path / "series")
    load = LoadImaged("image", image_only=True)
    load.register(DicomSeriesReader())
    loader = DataLoader(
        Dataset([{"image": str(tmp_path / "series")}], Compose([load, EnsureChannelFirstd("image")])), 1
    )
    image = next(iter(loader))["image"]
    assert isinstance(image, MetaTensor)
    assert image.shape == (1, 1, *SHAPE)
    assert np.allclose(image.affine[0] if image.affine.ndim == 3 else image.affine, AFFINE)


def test_metadata_of_a_batch(tmp_path: Path) -> None:
    """Metadata survive Orientationd, Spacingd and a batch, each series with its own UIDs and padding."""
    for name in ("one", "other"):
        save([changed(ds, PixelPaddingValue=20) for ds in planes()], tmp_path / name)
    transform = Compose(
        [
            LoadImaged("image", reader="monai_smia.data.DicomSeriesReader", image_only=True),
            EnsureChannelFirstd("image"),
            Orientationd("image", "RAS", labels=None),
            Spacingd("image", (1, 1, 2)),
            Resized("image", (8, 8, 8)),
        ]
    )
    items = [{"image": str(tmp_path / name)} for name in ("one", "other")]
    batch = next(iter(DataLoader(Dataset(items, transform), batch_size=2)))
    for item, image in zip(items, (d["image"] for d in decollate_batch(batch)), strict=True):
        uids = [str(plane.header.SOPInstanceUID) for plane in read_dicom_series(item["image"]).slices]
        assert list(image.meta["source_uids"]) == uids
        assert [float(bound) for bound in image.meta["padding"]] == [20 - 1024.0] * 2


def test_a_real_series(shared_data: Callable[[str], Path]) -> None:
    """JPEG Lossless, 512x512x64, names shuffled: value for value and affine as ITK's."""
    folder = shared_data("dicom") / "covidctmd_cap001"
    ours, itk = (LoadImage(reader=reader, image_only=True)(folder) for reader in (DicomSeriesReader(), "ITKReader"))
    assert np.array_equal(ours.numpy(), itk.numpy())
    assert np.allclose(ours.affine, itk.affine, atol=1e-6)
    assert len(set(ours.meta["source_uids"])) == 64
