"""What every DICOM object says that is derived from another one: what was done, of what, and that it is of nobody."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from monai_smia.files import MARK

EMPTY = (
    *("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "ReferringPhysicianName"),
    *("StudyDate", "StudyTime", "PositionReferenceIndicator"),
)
ADDITION, RESAMPLING = codes.DCM.PixelByPixelAddition, codes.DCM.SpatialResampling


def check_deidentified(header: Dataset, name: str) -> None:
    """Raise where a header does not say that nobody can be told from it.

    Args:
        header: of the source.
        name: what messages call it.

    Raises:
        ValueError: with what it must say.
    """
    removed = header.get("PatientIdentityRemoved") == "YES"
    how = header.get("DeidentificationMethod") or header.get("DeidentificationMethodCodeSequence")
    if not (removed and how):
        raise ValueError(
            f"source is not de-identified: {name} must have PatientIdentityRemoved YES and a "
            "DeidentificationMethod; de-identify it first, or set identified=True to write it all the same."
        )


def derived_file(kept: Dataset) -> FileDataset:
    """A file of the kept elements under a new SOPInstanceUID, uncompressed."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kept.SOPClassUID
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.update(kept)
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    return ds


def research_patient(ds: Dataset, source: Dataset) -> None:
    """What a study and a patient of its own must say, most of it nothing."""
    pseudonym = hashlib.sha256(str(source.get("StudyInstanceUID")).encode()).hexdigest()[:12]
    ds.PatientName, ds.PatientID = "ADVERSARIAL^TEST", f"RESEARCH-{pseudonym}"
    for name in EMPTY:
        setattr(ds, name, "")
    ds.StudyDescription = MARK


def mark(ds: Dataset, source: Dataset, description: str) -> None:
    """Say in codes and in text that these pixels are adversarial, and of what image."""
    ds.SeriesDescription = ds.ImageComments = MARK
    ds.DerivationDescription = f"{MARK}. {description}".strip()[:1024]
    ds.add_new(0x0008001C, "CS", "YES")  # Synthetic Data: some or all of the content was made artificially
    ds.ContentQualification = "RESEARCH"
    derived_from(ds, source, ADDITION)
    ds.SourceImageSequence[0].SpatialLocationsPreserved = "YES"
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = [code_item(codes.DCM.SynthesizingEquipment)]
    equipment.Manufacturer, equipment.ManufacturerModelName = "monai_smia", "adversarial robustness test"
    equipment.ContributionDescription = MARK
    ds.ContributingEquipmentSequence = [*ds.get("ContributingEquipmentSequence", []), equipment]  # of the same study


def derived_from(ds: Dataset, source: Dataset, how: Code) -> None:
    """Say in codes of what image these pixels are made, and how."""
    ds.DerivationCodeSequence = [code_item(how)]
    origin = Dataset()
    origin.ReferencedSOPClassUID, origin.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    origin.PurposeOfReferenceCodeSequence = [code_item(codes.DCM.SourceImageForImageProcessingOperation)]
    ds.SourceImageSequence = [origin]


def code_item(code: Code) -> Dataset:
    """A coded concept as an item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def save(ds: FileDataset, path: Path) -> None:
    """Write a new file to the disk, not to its cache alone."""
    with path.open("xb") as file:
        pydicom.dcmwrite(file, ds, enforce_file_format=True)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Write the names of a folder's files to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
