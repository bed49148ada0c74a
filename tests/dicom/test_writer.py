from __future__ import annotations

import hashlib
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_faults import changed
from dicom_files import AFFINE, SHAPE, enhanced, planes, save, stored_volume
from monai.transforms import LoadImage
from pydicom.uid import RLELossless

from monai_smia.dicom import DicomSeriesError, read_dicom_series, write_dicom_series
from monai_smia.files import MARK, WriteError, remove_unfinished


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def derived(tmp_path: Path, **options: object) -> list[pydicom.Dataset]:
    save(planes(), tmp_path / "source")
    series = read_dicom_series(tmp_path / "source")
    folder = write_dicom_series(series, series.stored() + 3, tmp_path / "out", **options)  # type: ignore[arg-type]
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("compress", [False, True])
def test_pixels_change_and_geometry_stays(compress: bool, tmp_path: Path) -> None:
    datasets = planes()
    if compress:
        for ds in datasets:
            ds.compress(RLELossless)
    save(datasets, tmp_path / "source")
    before = hashes(tmp_path / "source")
    series = read_dicom_series(tmp_path / "source")
    change = np.random.default_rng(0).integers(-5, 6, SHAPE)
    folder = write_dicom_series(series, series.stored() + change, tmp_path / "out")
    assert hashes(tmp_path / "source") == before
    again = read_dicom_series(folder)
    assert np.array_equal(again.stored() - stored_volume(), change)
    assert np.allclose(again.affine, AFFINE)
    itk = LoadImage(reader="ITKReader", image_only=True)(folder)
    assert np.array_equal(itk.numpy(), again.values())
    assert np.allclose(itk.affine, AFFINE)


def test_identity_is_new_and_the_source_named(tmp_path: Path) -> None:
    written = derived(tmp_path, description="pgd, eps 3 HU")
    sources = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, (tmp_path / "source").iterdir())}
    uids = {ds.SOPInstanceUID for ds in written}
    assert len(uids) == len(written) == len(sources)
    assert not uids & sources.keys()
    for ds in written:
        source = sources[ds.SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert ds.ImagePositionPatient == source.ImagePositionPatient
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.FrameOfReferenceUID == source.FrameOfReferenceUID
        assert ds.SeriesInstanceUID not in (source.SeriesInstanceUID, ds.StudyInstanceUID)
        assert ds.StudyInstanceUID != source.StudyInstanceUID
        assert ds.AccessionNumber == ""
        assert re.fullmatch(r"RESEARCH-[0-9a-f]{12}", ds.PatientID)
        assert "SECRET" not in str(ds)
        assert "eps 3 HU" in ds.DerivationDescription
    assert len({ds.SeriesInstanceUID for ds in written}) == len({ds.StudyInstanceUID for ds in written}) == 1


@pytest.mark.parametrize(("number", "expected"), [(4, 9004), (1234, 9234), (None, 9000)])
def test_a_series_number_of_its_own(number: int | None, expected: int, tmp_path: Path) -> None:
    """From 9000 to 9999, behind those of a study, with the last three digits of the source's."""
    save([changed(ds, SeriesNumber=number) for ds in planes()], tmp_path / "source")
    series = read_dicom_series(tmp_path / "source")
    folder = write_dicom_series(series, series.stored(), tmp_path / "out")
    assert {int(pydicom.dcmread(path).SeriesNumber) for path in folder.iterdir()} == {expected}


def test_it_says_what_it_is_in_codes_and_in_text(tmp_path: Path) -> None:
    for ds in derived(tmp_path):
        assert ds.ImageType == ["DERIVED", "SECONDARY", "AXIAL"]
        assert ds[0x0008001C].value == "YES"
        assert (ds.ContentQualification, ds.BurnedInAnnotation) == ("RESEARCH", "NO")
        assert ds.DerivationCodeSequence[0].CodeValue == "113042"
        origin, equipment = ds.SourceImageSequence[0], ds.ContributingEquipmentSequence[-1]
        assert origin.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        assert origin.SpatialLocationsPreserved == "YES"
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
        assert ds.SeriesDescription == ds.ImageComments == MARK


def test_what_vouches_for_the_old_pixels_goes(tmp_path: Path) -> None:
    datasets = planes()
    for ds in datasets:
        ds.SmallestImagePixelValue, ds.LargestImagePixelValue = 0, 4095
        ds.add_new(0x00290010, "LO", "VENDOR")
        ds.add_new(0x00291001, "LO", "secret of a vendor")
        ds.PatientAge, ds.OtherPatientIDs = "050Y", "SECRET-2"
        ds.add_new(0x60000010, "US", 4)
        ds.DigitalSignaturesSequence = [pydicom.Dataset()]
    save(datasets, tmp_path / "source")
    series = read_dicom_series(tmp_path / "source")
    folder = write_dicom_series(series, series.stored() + 1, tmp_path / "out")
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        gone = ("SmallestImagePixelValue", "LargestImagePixelValue", "DigitalSignaturesSequence", "PatientAge")
        assert not any(name in ds for name in gone)
        assert not any(element.tag.is_private or element.tag.group == 0x6000 for element in ds)
        assert "SECRET" not in str(ds)


def test_nothing_of_the_person_is_left(tmp_path: Path) -> None:
    """In a study of its own, wherever the source says who it is; the scan is still described."""
    datasets = planes(deidentified=False)
    for ds in datasets:
        ds.InstitutionName, ds.StudyDescription = "SECRET clinic", "control of SECRET"
        ds.OperatorsName = ds.RequestingPhysician = ds.PhysiciansOfRecord = "SECRET^NAME"
        ds.PatientComments = ds.AdditionalPatientHistory = "SECRET"
        ds.ReferencedPatientSequence, ds.RequestAttributesSequence = [pydicom.Dataset()], [pydicom.Dataset()]
        ds.ReferencedPatientSequence[0].PatientID = "SECRET-ID"
        ds.RequestAttributesSequence[0].ScheduledProcedureStepDescription = "SECRET"
        ds.ContributingEquipmentSequence = [pydicom.Dataset()]
        ds.ContributingEquipmentSequence[0].OperatorsName = "SECRET^NAME"
    save(datasets, tmp_path / "source")
    series = read_dicom_series(tmp_path / "source")
    folder = write_dicom_series(series, series.stored(), tmp_path / "out", identified=True)
    for path in folder.iterdir():
        assert b"SECRET" not in path.read_bytes()
        ds = pydicom.dcmread(path)
        assert (ds.KVP, ds.BodyPartExamined, ds.Manufacturer, ds.PatientPosition) == (120, "CHEST", "ACME", "HFS")


def test_what_a_header_lacks_is_made_up_for(tmp_path: Path) -> None:
    """Decimal strings that are too long, no frame of reference, InstanceNumber the same everywhere."""
    datasets = planes()
    for ds in datasets:
        ds.InstanceNumber = 1
        del ds.FrameOfReferenceUID
    for path in save(datasets, tmp_path / "source"):
        data = path.read_bytes()  # the thickness with trailing zeros
        old, new = b"\x18\x00\x50\x00DS\x04\x002.5 ", b"\x18\x00\x50\x00DS\x14\x002.500000000000000000"
        assert old in data
        path.write_bytes(data.replace(old, new))
    series = read_dicom_series(tmp_path / "source")
    folder = write_dicom_series(series, series.stored(), tmp_path / "out")
    written = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    assert {str(ds.SliceThickness) for ds in written} == {"2.5"}
    assert len({ds.FrameOfReferenceUID for ds in written}) == 1
    assert [int(ds.InstanceNumber) for ds in written] == [1, 2, 3, 4, 5, 6]


def test_same_study_only_where_it_is_asked_for(tmp_path: Path) -> None:
    source = planes()[0]
    for ds in derived(tmp_path, same_study=True):
        assert (ds.PatientID, ds.AccessionNumber) == (source.PatientID, source.AccessionNumber)
    ours, theirs = (read_dicom_series(tmp_path / name).slices[0].header for name in ("out", "source"))
    assert ours.StudyInstanceUID == theirs.StudyInstanceUID
    assert ours.SeriesInstanceUID != theirs.SeriesInstanceUID


def test_a_source_that_is_not_deidentified_is_refused(tmp_path: Path) -> None:
    save(planes(deidentified=False), tmp_path / "source")
    series = read_dicom_series(tmp_path / "source")
    with pytest.raises(ValueError, match="not de-identified") as caught:
        write_dicom_series(series, series.stored(), tmp_path / "out")
    assert "SECRET" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source"]
    folder = write_dicom_series(series, series.stored(), tmp_path / "out", identified=True)
    assert "SECRET" not in "".join(str(pydicom.dcmread(path)) for path in folder.iterdir())


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.zeros(SHAPE, np.float32), "must hold integers"),
        (np.zeros((2, 2, 2), np.int16), r"of shape \(10, 8, 6\)"),
        (np.full(SHAPE, 4096), r"must lie in \[0, 4095\]"),
        (np.full(SHAPE, -1), r"must lie in \[0, 4095\]"),
    ],
)
def test_values_that_do_not_fit_are_refused(stored: np.ndarray, message: str, tmp_path: Path) -> None:
    save(planes(), tmp_path / "source")
    with pytest.raises(ValueError, match=message):
        write_dicom_series(read_dicom_series(tmp_path / "source"), stored, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_multi_frame_source_is_refused(tmp_path: Path) -> None:
    save([enhanced(planes())], tmp_path / "source")
    series = read_dicom_series(tmp_path / "source")
    with pytest.raises(ValueError, match="one file a plane"):
        write_dicom_series(series, series.stored(), tmp_path / "out")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    derived(tmp_path)
    before = hashes(tmp_path / "out")
    series = read_dicom_series(tmp_path / "source")
    with pytest.raises(FileExistsError, match="never overwritten"):
        write_dicom_series(series, series.stored(), tmp_path / "out")
    assert hashes(tmp_path / "out") == before


def test_what_is_on_disk_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that loses a bit on its way to the disk must not leave a series."""
    write = pydicom.dcmwrite

    def lossy(file: object, ds: pydicom.Dataset, **options: object) -> None:
        if ds.ImagePositionPatient[2] == 45.0:
            ds.PixelData = ds.PixelData[:-2] + b"\0\0"
        write(file, ds, **options)  # type: ignore[arg-type]

    save(planes(), tmp_path / "source")
    series = read_dicom_series(tmp_path / "source")
    monkeypatch.setattr(pydicom, "dcmwrite", lossy)
    with pytest.raises(WriteError, match="does not hold what was to be written"):
        write_dicom_series(series, series.stored() + 3, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_leaves_no_half_series(tmp_path: Path) -> None:
    """Killed after the first, some and many files: nothing that a reader takes; the next run completes."""
    save(planes(stored_volume(0, (16, 16, 120))), tmp_path / "source", [f"{i}.dcm" for i in range(120)])
    series = read_dicom_series(tmp_path / "source")
    stored = series.stored() + 1
    folder = tmp_path / "out"
    for least in (1, 2, 40, 100):
        folder.mkdir(exist_ok=True)
        remove_unfinished(folder)
        child = os.fork()
        if child == 0:
            write_dicom_series(series, stored, folder / "ct")
            os._exit(0)
        while not (parts := list(folder.glob("*.part"))) or len(os.listdir(parts[0])) < least:
            assert os.waitpid(child, os.WNOHANG) == (0, 0), "it was too fast: the series was complete"
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        (partial,) = parts
        left = sorted(partial.iterdir())
        assert least <= len(left) < 120
        for half in (partial, left):
            with pytest.raises(DicomSeriesError, match="interrupted"):
                read_dicom_series(half)
        with pytest.raises(DicomSeriesError, match="found no DICOM file"):
            read_dicom_series(folder)
    assert np.array_equal(read_dicom_series(write_dicom_series(series, stored, folder / "ct")).stored(), stored)
    remove_unfinished(folder)  # as an evaluation does when it begins
    assert [path.name for path in folder.iterdir()] == ["ct"]


def test_a_real_series(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    source = shared_data("dicom") / "covidctmd_cap001"
    before = hashes(source)
    series = read_dicom_series(source)
    stored = series.stored()
    change = np.where(stored < 2000, 7, -7)
    folder = write_dicom_series(series, stored + change, tmp_path / "out")
    assert np.array_equal(read_dicom_series(folder).stored() - stored, change)
    assert hashes(source) == before
