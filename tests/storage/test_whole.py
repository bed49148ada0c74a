"""Files that say that they are damaged."""

from __future__ import annotations

import gzip
import random
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_files import planes, save
from evaluation.test_resume import plan, quick
from evaluation.test_runner import LOAD, write_case
from PIL import Image

from monai_smia.dicom.files import decode
from monai_smia.evaluation.cases import load_case
from monai_smia.evaluation.errors import FailedCasesError, reason_of
from monai_smia.storage import DamagedFileError, NiftiStorage, PngStorage, check_whole
from monai_smia.transforms import LoadPhotograph


def volume(folder: Path) -> Path:
    path = folder / "ct.nii.gz"
    values = np.random.default_rng(0).integers(-1000, 400, (12, 11, 10)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([-1.5, -1.5, 2.0, 1.0])), path)
    return path


def picture(folder: Path) -> Path:
    path = folder / "frame.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("make", [volume, picture])
def test_no_flipped_bit_changes_an_image(tmp_path: Path, make: Any) -> None:
    """200 drawn flips: refused, or the very voxels and affine."""
    path = make(tmp_path)
    storage: Any = (NiftiStorage if make is volume else PngStorage)(tmp_path)
    whole, before = path.read_bytes(), storage.read(path)
    refused = 0
    for bit in random.Random(0).sample(range(8 * len(whole)), 200):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            after = storage.read(path)
        except Exception:
            refused += 1
            continue
        assert torch.equal(after.as_tensor(), before.as_tensor())
        assert torch.equal(after.affine, before.affine)
    assert refused > 180


def damages(data: bytes) -> dict[str, bytes]:
    crc = int.from_bytes(data[-8:-4], "little")
    return {
        "cut": data[:-1],
        "no trailer": data[:-8],
        "another checksum": data[:-8] + (crc ^ 1).to_bytes(4, "little") + data[-4:],
        "another size": data[:-4] + (int.from_bytes(data[-4:], "little") + 1).to_bytes(4, "little"),
        "something behind": data + b"more",
    }


@pytest.mark.parametrize("name", damages(gzip.compress(b"x")))
def test_a_gzip_file_is_read_to_its_end(tmp_path: Path, name: str) -> None:
    path = volume(tmp_path)
    path.write_bytes(damages(path.read_bytes())[name])
    with pytest.raises(DamagedFileError, match=r"^ct\.nii\.gz is damaged: .*\. Fetch it again\.$"):
        check_whole(path)
    with pytest.raises(DamagedFileError):
        NiftiStorage(tmp_path).read(path)


@pytest.mark.parametrize("key", ["image", "label"])
def test_a_damaged_file_fails_its_case_alone(tmp_path: Path, key: str) -> None:
    good, bad = write_case(tmp_path, "good"), write_case(tmp_path, "bad")
    path = Path(bad[key])
    path.write_bytes(damages(path.read_bytes())["another checksum"])  # every voxel can still be read
    with pytest.raises(
        FailedCasesError, match=rf"1 of 2 cases failed: bad: DamagedFileError: bad_{key}\.nii\.gz is dam"
    ):
        quick([bad, good], tmp_path / "out").run()


def test_a_png_that_ends_early_or_has_another_checksum(tmp_path: Path) -> None:
    path = picture(tmp_path)
    whole = path.read_bytes()
    place = whole.index(b"IDAT")
    size = int.from_bytes(whole[place - 4 : place], "big")
    pixels = zlib.decompress(whole[place + 4 : place + 4 + size])
    for data, reason in (
        (whole[:-20], "it ends too early"),
        (whole[: place + 4 + size] + b"\0\0\0\0" + whole[place + 8 + size :], "checksum of its chunk IDAT"),
    ):
        path.write_bytes(data)
        with pytest.raises(DamagedFileError, match=reason):
            check_whole(path)
    assert len(pixels) == 24 * (1 + 3 * 36)


def test_files_without_a_checksum_pass(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    for path in (tmp_path / "a.jpg", tmp_path, tmp_path / "gone"):
        check_whole(path)


@pytest.mark.parametrize(("dtype", "value", "refused"), [
    (np.int32, (1 << 24) + 1, True), (np.uint32, 1 << 25, True), (np.int32, 1 << 24, False), (np.int16, 32767, False),
])  # fmt: skip
def test_whole_numbers_that_float32_does_not_hold_are_refused(
    tmp_path: Path, dtype: Any, value: int, refused: bool
) -> None:
    item = write_case(tmp_path, "a")
    values = np.zeros((14, 14, 8), dtype)
    values[0, 0, 0] = value
    nib.save(nib.Nifti1Image(values, np.diag([-2.0, -2.0, 2.0, 1.0]), dtype=dtype), item["image"])
    if refused:
        with pytest.raises(ValueError, match=r"a_image\.nii\.gz holds whole numbers up to \d+, of which float32"):
            load_case(item, LOAD, torch.device("cpu"))
    else:
        assert int(load_case(item, LOAD, torch.device("cpu")).image.max()) == value


def test_a_tensor_of_such_numbers_is_refused() -> None:
    loading = lambda item: {"image": torch.full((1, 4, 4), (1 << 24) + 1), "label": 0}  # noqa: E731
    with pytest.raises(ValueError, match=r"image holds whole numbers up to 16777217"):
        load_case({"case": "a", "image": "a", "label": 0}, loading, torch.device("cpu"))


@pytest.mark.parametrize("row", [[0, 0, 0, 0], [0, 0, 2, 0], [float("nan"), 0, 0, 0]], ids=["zero", "twice", "NaN"])
@pytest.mark.parametrize("key", ["image", "label"])
def test_an_affine_that_is_none_fails_its_case(key: str, row: list[float], tmp_path: Path) -> None:
    """MONAI takes the identity in its place: figures of another spacing, without a word."""
    cases = [write_case(tmp_path, name) for name in ("good", "bad")]
    volume = nib.load(cases[1][key])
    header, values = volume.header.copy(), np.asarray(volume.dataobj)
    header["qform_code"], header["sform_code"], header["vox_offset"], header["magic"] = 0, 1, 352, b"n+1"
    header["srow_x"] = row
    path = Path(cases[1][key].removesuffix(".gz"))
    path.write_bytes(header.binaryblock + bytes(4) + values.tobytes(order="F"))
    cases[1][key] = str(path)
    with pytest.raises(FailedCasesError, match=rf"bad: ValueError: bad_{key}\.nii does not say where its voxels lie"):
        quick(cases, tmp_path / "out", attacks=plan()[:1]).run()


def test_the_error_that_names_the_file_is_told(tmp_path: Path) -> None:
    """And not that of a library from which it was raised, of which nobody knows which file it means."""
    picture = tmp_path / "eye.png"
    picture.write_bytes(b"no picture")
    for load, name in ((LoadPhotograph(), "eye.png"), (decode, "0001.dcm")):
        path = tmp_path / name
        if name.endswith("dcm"):
            save([planes()[0]], tmp_path, [name])
            path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - what it says is what is tested
            load(path)
        assert name in reason_of(caught.value)
        assert caught.value.__cause__ is not None
