"""Color pictures of DICOM: read as the RGB that they show, or refused by a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import planes
from dicom_picture_files import CAPTURE, ES, J2K, JPEG, RLE, VIDEO, picture, save_picture, scene
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG4HP41

from monai_smia.dicom import DicomSeriesError, read_dicom_picture
from monai_smia.dicom.pictures import picture_name

FRAME = scene(3)


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"planar": 1},
        {"syntax": RLE},
        {"kind": ES, "planar": 1},
        {"kind": CAPTURE},
    ],
    ids=str,
)
def test_rgb_is_read_as_it_is(made: dict[str, Any], tmp_path: Path) -> None:
    found = read_dicom_picture(save_picture(picture(FRAME, **made), tmp_path / "a.dcm"))
    assert np.array_equal(found.pixels, FRAME)
    assert found.frame == 1


@pytest.mark.parametrize("planar", [0, 1])
def test_ybr_full_becomes_rgb(planar: int, tmp_path: Path) -> None:
    found = read_dicom_picture(save_picture(picture(FRAME, look="YBR_FULL", planar=planar), tmp_path / "a.dcm"))
    assert np.abs(found.pixels.astype(int) - FRAME).max() <= 2  # rounded to 8 bits twice


def test_ybr_422_becomes_rgb_of_two_pixels_one_color(tmp_path: Path) -> None:
    even = FRAME.repeat(2, axis=1)
    found = read_dicom_picture(save_picture(picture(even, look="YBR_FULL_422"), tmp_path / "a.dcm"))
    assert np.abs(found.pixels.astype(int) - even).max() <= 2


@pytest.mark.parametrize("look", ["YBR_FULL_422", "RGB"])
def test_jpeg_baseline_is_what_other_readers_make_of_it(look: str, tmp_path: Path) -> None:
    """Also where the header says RGB of a JFIF stream, which can hold YCbCr alone."""
    ds = picture(FRAME, look=look, syntax=JPEG)
    found = read_dicom_picture(save_picture(ds, tmp_path / "a.dcm"))
    stream = next(iter(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)))
    theirs = np.asarray(Image.open(BytesIO(stream)).convert("RGB")).astype(int)
    assert np.abs(found.pixels - theirs).max() <= 3
    assert np.abs(found.pixels - theirs).mean() < 0.6


def test_jpeg_2000_is_read(tmp_path: Path) -> None:
    stream = BytesIO()
    Image.fromarray(FRAME).save(stream, "JPEG2000", irreversible=False, mct=1, no_jp2=True)
    ds = picture(FRAME, look="YBR_RCT")
    ds.file_meta.TransferSyntaxUID, ds.PixelData = J2K, encapsulate([stream.getvalue()])
    assert np.array_equal(read_dicom_picture(save_picture(ds, tmp_path / "a.dcm")).pixels, FRAME)


@pytest.mark.parametrize("syntax", [None, JPEG, RLE])
def test_a_frame_of_several(syntax: str | None, tmp_path: Path) -> None:
    frames = [scene(seed) for seed in range(3)]
    how = {"syntax": syntax} if syntax else {}
    look = "YBR_FULL_422" if syntax == JPEG else "RGB"
    path = save_picture(picture(frames, VIDEO, look=look, **how), tmp_path / "a.dcm")
    for number, frame in enumerate(frames, start=1):
        near = np.abs(read_dicom_picture(path, number).pixels.astype(int) - frame)
        assert near.mean() < (4 if syntax == JPEG else 1e-9)
    with pytest.raises(ValueError, match=r"a\.dcm has 3 frames: choose one by its number, from 1 on"):
        read_dicom_picture(path)
    for wrong in (0, 4, "1", True):
        with pytest.raises(ValueError, match=r"frame must be a whole number from 1 to 3, the frames of a.dcm, got"):
            read_dicom_picture(path, wrong)  # type: ignore[arg-type]


def _grey(ds: FileDataset, look: str = "MONOCHROME2") -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, look
    del ds.PlanarConfiguration
    ds.PixelData = FRAME[..., 0].tobytes()


def _palette(ds: FileDataset) -> None:
    _grey(ds, "PALETTE COLOR")


def _deep(ds: FileDataset) -> None:
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelData = 16, 16, 15, FRAME.astype("<u2").tobytes()


def _video(ds: FileDataset) -> None:
    ds.file_meta.TransferSyntaxUID, ds.PixelData = MPEG4HP41, encapsulate([b"\0\0\0\1"])


def _cut(ds: FileDataset) -> None:
    ds.PixelData = ds.PixelData[:-1000]


def _adobe(ds: FileDataset) -> None:
    """A JPEG of RGB, as Adobe's marker says, under a header that says YCbCr."""
    stream = BytesIO()
    Image.fromarray(FRAME).save(stream, "JPEG", keep_rgb=True)
    assert b"Adobe" in stream.getvalue()
    ds.file_meta.TransferSyntaxUID, ds.PixelData = JPEG, encapsulate([stream.getvalue()])
    ds.PhotometricInterpretation = "YBR_FULL_422"


def _look(look: str, **more: Any) -> Callable[[FileDataset], None]:
    def change(ds: FileDataset) -> None:
        ds.PhotometricInterpretation = look
        for name, value in more.items():
            setattr(ds, name, value)

    return change


def _bare(ds: FileDataset) -> None:
    del ds.PixelData


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_grey, r"a\.dcm is greyscale \(MONOCHROME2, OP\), and must be a color picture"),
        (lambda ds: _grey(ds, "MONOCHROME1"), r"is greyscale \(MONOCHROME1, OP\)"),
        (_palette, "holds numbers of a palette .*convert it to RGB first"),
        (_deep, "must hold 8 bits a color, unsigned: BitsAllocated must be 8, got 16"),
        (_look("RGB", PixelRepresentation=1), "unsigned: PixelRepresentation must be 0, got 1"),
        (_video, r"is a video \(MPEG-4 .*\): take its frames out first"),
        (_cut, "the pixels of a.dcm do not decode"),
        (_adobe, "says YBR_FULL_422, and its JPEG holds RGB"),
        (_look("YBR_PARTIAL_420"), "PhotometricInterpretation of RGB, YBR_FULL, .*, got 3 and YBR_PARTIAL_420"),
        (_look("HSV"), "got 3 and HSV"),
        (_look("YBR_RCT"), "says YBR_RCT, which JPEG 2000 alone has, and is Explicit VR Little Endian"),
        (_look("RGB", SamplesPerPixel=4), "got 4 and RGB"),
        (_look("YBR_FULL_422", PlanarConfiguration=1), "says YBR_FULL_422 in planes"),
        (_look("RGB", PlanarConfiguration=3), "PlanarConfiguration of 0 or 1, got 3"),
        (_look("RGB", Rows=0), "a.dcm must have Rows, and has none"),
        (_look("RGB", Columns=0), "must have one Columns > 0, got 0"),
        (_bare, "the pixels of a.dcm do not decode"),
    ],
)
def test_what_is_no_color_picture_is_refused(change: Callable[[FileDataset], None], said: str, tmp_path: Path) -> None:
    ds = picture(FRAME)
    change(ds)
    path = save_picture(ds, tmp_path / "SECRET" / "a.dcm")
    with pytest.raises(DicomSeriesError, match=said) as caught:
        read_dicom_picture(path)
    assert "SECRET" not in str(caught.value)


def test_a_ct_and_what_is_no_dicom_are_refused(tmp_path: Path) -> None:
    path = save_picture(planes()[0], tmp_path / "ct.dcm")
    with pytest.raises(DicomSeriesError, match=r"ct\.dcm is greyscale \(MONOCHROME2, CT\)"):
        read_dicom_picture(path)
    path.write_bytes(b"nothing")
    with pytest.raises(DicomSeriesError, match=r"ct\.dcm is not DICOM"):
        read_dicom_picture(path)


def test_a_case_is_called_by_nothing_of_its_file(tmp_path: Path) -> None:
    ds = picture(FRAME)
    assert re.fullmatch(r"picture_[0-9a-f]{12}_frame0007", picture_name(ds, 7))
