"""A derived CT series: changed pixels under new UIDs, marked as not for clinical use, complete or not there."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage, generate_uid

from monai_smia.checks import check_switch
from monai_smia.dicom.compressed import check_compression, compress
from monai_smia.dicom.derived import check_deidentified, derived_file, mark, research_patient, save, sync
from monai_smia.dicom.files import UNFINISHED, DicomSlice, decode, stored_range
from monai_smia.dicom.kept import kept_of
from monai_smia.dicom.series import DicomSeries
from monai_smia.files import WriteError, unfinished, writing


def write_dicom_series(
    source: DicomSeries,
    stored: np.ndarray,
    folder: str | os.PathLike[str],
    *,
    description: str = "",
    same_study: bool = False,
    identified: bool = False,
    compression: str | None = None,
) -> Path:
    """Write the planes of a CT series with other stored values, as a series derived from it.

    Every plane gets a new SOPInstanceUID, the series a new SeriesInstanceUID; position, orientation, spacing and frame
    of reference stay. The series says what it is in codes, which survive de-identification (ImageType DERIVED,
    Synthetic Data, ContentQualification RESEARCH, DerivationCodeSequence, ContributingEquipmentSequence, the source
    images), and in text, which does not. By default it is a study of its own of a research patient, so that no worklist
    picks it up; of the header it keeps numbers of how the scan was made and where it lies, and a short list of
    text (`monai_smia.dicom.kept`), no sequence but the codes of de-identification. Private attributes are left out at
    any depth.

    Files are written into a hidden folder beside `folder`, read back and compared, and the folder renamed: it is
    complete or not there. Sources are only read.

    Args:
        source: the series, of one file a plane.
        stored: its new stored integers ``(columns, rows, planes)``.
        folder: folder to make.
        description: for DerivationDescription: the attack, its radius, its seed.
        same_study: stay in the study and with the patient of the source.
        identified: allow a source that does not say that it is de-identified.
        compression: without loss, of `monai_smia.dicom.compressed.COMPRESSIONS`; None for uncompressed pixels.

    Returns:
        The folder.

    Raises:
        ValueError: if the source is not de-identified, not CT or multi-frame, or the values do not fit it.
        FileExistsError: if `folder` exists.
        WriteError: if the operating system does not let it be written, or it does not hold what was written.
    """
    check_switch("same_study", same_study)
    check_switch("identified", identified)
    folder = Path(folder)
    _check(source, stored, identified)
    check_compression(compression)
    if folder.exists():
        raise FileExistsError(f"folder {folder.name} exists; a series is never overwritten.")
    partial = unfinished(folder.with_name(f"{folder.name}{UNFINISHED}"))
    with writing(folder):
        partial.mkdir(parents=True)
        try:
            _write_planes(source, stored, partial, description, same_study, compression)
            sync(partial)
            os.rename(partial, folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync(folder.parent)
    return folder


def _write_planes(
    source: DicomSeries,
    stored: np.ndarray,
    partial: Path,
    description: str,
    same_study: bool,
    compression: str | None,
) -> None:
    """Every plane as a file, read back and compared."""
    series_uid, study_uid, frame_uid = generate_uid(), generate_uid(), generate_uid()
    for index, plane in enumerate(source.slices):
        ds = _derived(plane, stored[..., index], description, same_study)
        ds.SeriesInstanceUID, ds.InstanceNumber = series_uid, index + 1
        if not same_study:
            ds.StudyInstanceUID = study_uid
        if not ds.get("FrameOfReferenceUID"):
            ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = frame_uid, ""
        if compression is not None:
            compress(ds, compression)
        path = partial / f"{index:05d}.dcm"
        save(ds, path)
        if not np.array_equal(decode(path), stored[..., index].T):  # a disk that lies, a header that was wrong
            raise WriteError(errno.EIO, f"{path.name} of {partial.name} does not hold what was to be written")


def _check(source: DicomSeries, stored: np.ndarray, identified: bool) -> None:
    for plane in source.slices:
        header = plane.header
        if header.SOPClassUID != CTImageStorage:
            raise ValueError(f"source must be a CT series of one file a plane, got {header.SOPClassUID.name}.")
        if not identified:
            check_deidentified(header, plane.name)
        low, high = stored_range(header)
    if stored.shape != source.shape or not np.issubdtype(stored.dtype, np.integer):
        raise ValueError(f"stored must hold integers of shape {source.shape}, got {stored.dtype} {stored.shape}.")
    if int(stored.min()) < low or int(stored.max()) > high:
        raise ValueError(f"stored must lie in [{low}, {high}], got values from {stored.min()} to {stored.max()}.")


def _derived(plane: DicomSlice, pixels: np.ndarray, description: str, same_study: bool) -> FileDataset:
    source = plane.header
    ds = derived_file(kept_of(source, same_study))
    ds.SeriesNumber = 9000 + int(source.get("SeriesNumber") or 0) % 1000
    ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    if not same_study:
        research_patient(ds, source)
    mark(ds, source, description)
    ds.BurnedInAnnotation = "NO"
    kind = ("<i" if source.PixelRepresentation else "<u") + str(source.BitsAllocated // 8)
    data = np.ascontiguousarray(pixels.T).astype(kind).tobytes()
    ds.add_new("PixelData", "OW", data + b"\0" * (len(data) % 2))
    return ds
