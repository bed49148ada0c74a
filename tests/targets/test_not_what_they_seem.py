"""Files that are not what they seem are refused by name."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_smia.evaluation.cases import check_input_files
from monai_smia.evaluation.errors import UNREADABLE, kind_of
from monai_smia.storage.whole import DamagedFileError
from monai_smia.targets.ct_lung import LoadHounsfieldd
from monai_smia.targets.endoscopy import endoscopy_datalist, fitted_frames
from monai_smia.transforms import LoadPhotograph


def deep_png(path: Path) -> None:
    """16 bits a color, which PIL opens as RGB of 8."""
    rows = b"".join(b"\0" + bytes(64 * 6) for _ in range(64))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48), (9, 9, 9)).save(path, format="JPEG", exif=exif)


def pages(kind: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        first, *others = (Image.new("RGB", (64, 64), (level, 0, 0)) for level in (10, 90))
        first.save(path, format=kind, save_all=True, append_images=others)

    return write


PICTURES: dict[str, tuple[Callable[[Path], None], str]] = {
    "16-bit RGB": (deep_png, "16 bits a color"),
    "EXIF orientation": (turned, "EXIF orientation of 6"),
    "pages of a TIFF": (pages("TIFF"), "TIFF of 2 pages"),
    "frames of an APNG": (pages("PNG"), "PNG of 2 pages"),
    "pictures of an MPO": (pages("MPO"), "MPO of 2 pages"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name: str, tmp_path: Path) -> None:
    write, message = PICTURES[name]
    path = tmp_path / "a.png"
    write(path)
    with pytest.raises(ValueError, match=f"a.png must .*{message}"):
        LoadPhotograph()(path)
    (tmp_path / "labels.csv").write_text("file,class,x1,y1,x2,y2\na.png,,,,,\n")
    with pytest.raises(ValueError, match=f"a.png must .*{message}"):
        endoscopy_datalist(tmp_path, classes=["polyp"])
    with pytest.raises(ValueError, match=f"a.png must .*{message}"):
        fitted_frames([{"image": str(path), "case": "a", "label": {"boxes": [], "labels": []}}], tmp_path / "f")


def test_pictures_as_they_should_be(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.tif", "a.bmp"):
        Image.new("RGB", (64, 64), (9, 8, 7)).save(tmp_path / name)
        assert LoadPhotograph()(tmp_path / name).shape == (3, 64, 64)


def test_a_box_without_a_class_is_an_error_of_its_row(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("file,class,x1,y1,x2,y2\na.png,polyp,1,2,30,40\na.png,,5,5,20,20\n")
    with pytest.raises(ValueError, match=r"row 2 of labels\.csv has a box and no class"):
        endoscopy_datalist(tmp_path, classes=["polyp"])


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-160, 240), (0, 1)])
def test_a_ct_whose_values_are_no_hounsfield_units(low: int, high: int, tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(low, high, (8, 8, 8)).astype(np.float32)
    path = tmp_path / "windowed.nii.gz"
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    load = LoadHounsfieldd(["image", "label"])
    with pytest.raises(ValueError, match=r"windowed\.nii\.gz must hold Hounsfield units"):
        load({"image": str(path), "label": str(path)})
    nib.save(nib.Nifti1Image(values - 1000, np.eye(4)), tmp_path / "ct.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((8, 8, 8), np.uint8), np.eye(4)), tmp_path / "lung.nii.gz")
    loaded = load({"image": str(tmp_path / "ct.nii.gz"), "label": str(tmp_path / "lung.nii.gz")})  # a label is no CT
    assert float(loaded["image"].min()) == pytest.approx(float(values.min()) - 1000, abs=1e-3)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [(np.complex64, "complex values"), (np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]), "colors")],
)
def test_a_nifti_that_readers_take_a_part_of(dtype: np.dtype, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), dtype), np.eye(4)), path)
    with pytest.raises(ValueError, match=f"a.nii must hold one number a voxel, got {message}"):
        check_input_files({"image": str(path)})


@pytest.mark.parametrize("shape", [(8, 8, 8, 2), (8, 8, 8, 1, 3)])
def test_a_ct_of_several_channels(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "two.nii.gz"
    nib.save(nib.Nifti1Image(np.full(shape, -1000, np.int16), np.eye(4)), path)
    with pytest.raises(ValueError, match=rf"two.nii.gz must be one volume of a CT, got shape \({shape[0]}, 8, 8"):
        LoadHounsfieldd("image")({"image": str(path)})
    nib.save(nib.Nifti1Image(np.full((8, 8, 8, 1), -1000, np.int16), np.eye(4)), path)
    assert float(LoadHounsfieldd("image")({"image": str(path)})["image"].max()) == -1000


def test_a_ct_shifted_to_whole_numbers_is_no_label(tmp_path: Path) -> None:
    """It holds nothing but whole numbers from 0 on, and a threshold would make a mask of it."""
    for name, count in (("shifted", 400), ("organs", 17), ("lobes", 16)):
        values = (np.arange(512) % count).reshape(8, 8, 8).astype(np.int16)
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / f"{name}.nii.gz")
    load = LoadHounsfieldd("label")
    for name, count in (("shifted", 400), ("organs", 17)):
        message = (
            f"label {name}.nii.gz must hold one whole number for each class, got {count} of them from 0 to {count - 1}"
        )
        with pytest.raises(ValueError, match=message):
            load({"label": str(tmp_path / f"{name}.nii.gz")})
    assert float(load({"label": str(tmp_path / "lobes.nii.gz")})["label"].max()) == 15


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.png", "a.dcm", "a"])
def test_an_empty_file_is_called_empty(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DamagedFileError, match=rf"{name} is empty, 0 bytes"):
        check_input_files({"label": str(tmp_path / name)})


@pytest.mark.parametrize("content", [b"x", bytes(100), bytes(400), b"text" * 200])
def test_what_is_no_nifti_is_an_unreadable_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"a.nii is no NIfTI file that can be read") as told:
        check_input_files({"image": str(tmp_path / "a.nii")})
    assert kind_of(told.value) == UNREADABLE
