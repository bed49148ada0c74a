"""Derived pictures: marked, whole, of nobody, and legal."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom.test_markers import BY_VR, FOUND, MARKERS, NEEDED, item, where
from dicom_picture_files import CAPTURE, CAPTURES, ES, JPEG, OP, VIDEO, picture, save_picture, scene
from pydicom.datadict import keyword_for_tag
from pydicom.uid import JPEGLSNearLossless

from monai_smia.dicom import read_dicom_picture, write_dicom_picture
from monai_smia.dicom.kept import CODE, CODES, EYE, GROUPS, NUMBERS, PICTURE_CODES, PICTURE_TEXT, TEXT
from monai_smia.dicom.pictures import lossy_history

FRAME = scene(3)
KINDS = {"OP": OP, "ES": ES, "video": VIDEO, "capture": CAPTURE, "captures": CAPTURES}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("adversarial", [True, False])
def test_what_is_derived_is_marked_and_reads_back(kind: str, adversarial: bool, tmp_path: Path) -> None:
    several = [scene(0), FRAME] if kind in ("video", "captures") else FRAME
    path = save_picture(picture(several, KINDS[kind]), tmp_path / "a.dcm")
    before = path.read_bytes()
    source = read_dicom_picture(path, 2 if isinstance(several, list) else None)
    pixels = source.pixels ^ 1 if adversarial else source.pixels[::2, ::2].copy()
    written = write_dicom_picture(source, pixels, tmp_path / "b.dcm", description="eps 1", adversarial=adversarial)
    assert path.read_bytes() == before
    ds, old = pydicom.dcmread(written), pydicom.dcmread(path)
    assert np.array_equal(ds.pixel_array, pixels)
    assert np.array_equal(read_dicom_picture(written).pixels, pixels)
    assert (ds.SOPClassUID, ds.PhotometricInterpretation, ds.PlanarConfiguration) == (old.SOPClassUID, "RGB", 0)
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        assert ds[name].value != old[name].value
    assert ds.ImageType[0] == "DERIVED"
    assert ds.SeriesDescription.startswith("ADVERSARIAL TEST" if adversarial else "SCALED COPY")
    assert ds.get(0x0008001C) is None or adversarial  # Synthetic Data
    assert (ds.get("ContentQualification") == "RESEARCH") == adversarial
    (origin,) = ds.SourceImageSequence
    assert origin.ReferencedSOPInstanceUID == old.SOPInstanceUID
    assert origin.get("ReferencedFrameNumber") == (2 if isinstance(several, list) else None)
    assert (ds.PatientID, ds.PatientName) != (old.PatientID, old.PatientName)
    assert int(ds.get("NumberOfFrames", 1)) == 1
    assert b"SECRET" not in written.read_bytes()
    assert not any(element.value == "20200102" for element in ds.iterall())


@pytest.mark.parametrize(
    ("made", "changed", "lossy"),
    [
        ({"syntax": JPEG, "look": "YBR_FULL_422"}, {}, ("01", "ISO_10918_1")),
        ({"syntax": JPEG, "look": "YBR_FULL_422"}, {"LossyImageCompression": "00"}, ("01", "ISO_10918_1")),
        (
            {"syntax": JPEG, "look": "YBR_FULL_422"},
            dict.fromkeys(("LossyImageCompression", "LossyImageCompressionMethod", "LossyImageCompressionRatio")),
            ("01", "ISO_10918_1"),
        ),
        ({}, {}, ("00", None)),
        ({}, {"LossyImageCompression": None}, ("00", None)),
        ({}, {"LossyImageCompression": "01"}, ("01", None)),  # of what, nobody said
    ],
)
def test_what_was_lost_stays_said(
    made: dict[str, Any], changed: dict[str, Any], lossy: tuple[str, str | None], tmp_path: Path
) -> None:
    source = read_dicom_picture(save_picture(picture(FRAME, **made, **changed), tmp_path / "a.dcm"))
    ds = pydicom.dcmread(write_dicom_picture(source, source.pixels, tmp_path / "b.dcm"))
    assert (ds.LossyImageCompression, ds.get("LossyImageCompressionMethod")) == lossy
    assert lossy[1] is None or float(ds.LossyImageCompressionRatio) > 1
    assert not ds.file_meta.TransferSyntaxUID.is_compressed


def test_near_lossless_counts_as_lossy() -> None:
    ds = picture(FRAME)
    ds.file_meta.TransferSyntaxUID = JPEGLSNearLossless
    assert lossy_history(ds)["LossyImageCompression"] == "01"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"PatientIdentityRemoved": "NO"}, "source is not de-identified: a.dcm must have PatientIdentityRemoved YES"),
        ({"BurnedInAnnotation": "YES"}, "a.dcm says that text is burned into its pixels"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.2"}, "source must be one of Ophthalmic .*, got VL Microscopic"),
    ],
)
def test_what_is_not_written(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    ds = picture(FRAME, **changed)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    source = read_dicom_picture(save_picture(ds, tmp_path / "a.dcm"))
    with pytest.raises(ValueError, match=said):
        write_dicom_picture(source, source.pixels, tmp_path / "b.dcm")
    assert not (tmp_path / "b.dcm").exists()
    if "SOPClassUID" not in changed:
        assert write_dicom_picture(source, source.pixels, tmp_path / "b.dcm", identified=True).exists()
        scaled = write_dicom_picture(source, source.pixels[:8, :8], tmp_path / "c.dcm", adversarial=False)
        assert pydicom.dcmread(scaled).get("BurnedInAnnotation") == ds.BurnedInAnnotation
    with pytest.raises(ValueError, match=r"pixels must be uint8 of shape|source must be one of"):
        write_dicom_picture(source, source.pixels[:8], tmp_path / "d.dcm", identified=True)
    with pytest.raises(ValueError, match="identified must be True or False, got 'false'"):
        write_dicom_picture(source, source.pixels, tmp_path / "e.dcm", identified="false")  # type: ignore[arg-type]


def test_what_is_derived_holds_no_marker_but_in_what_the_docs_list(tmp_path: Path) -> None:
    """A marker in every element of every kind, at three depths, as in `test_markers`."""
    ds = picture(FRAME, OP)
    marked = item(2)
    for vr, tags in BY_VR.items():
        for tag in tags:
            filled = vr == "SQ" and keyword_for_tag(tag) in (*PICTURE_CODES, *CODES, "RefractiveStateSequence")
            marked.add_new(tag, vr, [item(1)] if filled else MARKERS[vr])
    keep = (*NEEDED, "Rows", "Columns", "DeidentificationMethod", "BurnedInAnnotation", "NumberOfFrames")
    for element in marked:
        if element.keyword not in keep:
            ds.add(element)
    source = read_dicom_picture(save_picture(ds, tmp_path / "a.dcm"))
    assert len(where(pydicom.dcmread(tmp_path / "a.dcm"))) > 1000
    for adversarial in (True, False):
        path = write_dicom_picture(source, source.pixels, tmp_path / "b.dcm", adversarial=adversarial)
        sequences = {f"{sequence}.{name}" for sequence in (*CODES, *PICTURE_CODES) for name in CODE}
        for name, element in where(pydicom.dcmread(path)).items():
            number = element.VR in NUMBERS and element.tag.group in (*GROUPS, EYE) and "." not in name
            assert name in {*TEXT, *PICTURE_TEXT, *sequences} or number, name
        assert not FOUND.search(path.read_bytes()[:132])


DCIODVFY = shutil.which("dciodvfy")


@pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(kind: str, tmp_path: Path) -> None:
    assert DCIODVFY is not None
    several = [scene(0), FRAME] if kind in ("video", "captures") else FRAME
    how = {"syntax": JPEG, "look": "YBR_FULL_422"} if kind == "OP" else {}
    path = save_picture(picture(several, KINDS[kind], **how), tmp_path / "a.dcm")
    source = read_dicom_picture(path, 2 if isinstance(several, list) else None)
    files = [path, write_dicom_picture(source, source.pixels ^ 1, tmp_path / "b.dcm")]
    files.append(write_dicom_picture(source, source.pixels[::2, ::2], tmp_path / "c.dcm", adversarial=False))
    for file in files:
        done = subprocess.run([DCIODVFY, str(file)], capture_output=True, text=True, check=False)
        assert "Error" not in done.stdout + done.stderr, done.stderr
        assert "Image" in done.stdout + done.stderr  # it knew the class
