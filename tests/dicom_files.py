"""Small CT series as files, for the tests to spoil."""

from __future__ import annotations

import datetime
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    SegmentationStorage,
    generate_uid,
)

from monai_smia.targets.ct_lung import ct_datalist, write_ct_phantoms

SHAPE = (10, 8, 6)  # columns, rows, planes
SPACING = (0.7, 0.6, 2.5)
ORIGIN = (-3.5, -2.5, 40.0)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.array(
    [[0.7, 0, 0, ORIGIN[0]], [0, 0.6, 0, ORIGIN[1]], [0, 0, 2.5, ORIGIN[2]], [0, 0, 0, 1]]
)


def stored_volume(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Stored integers (columns, rows, planes)."""
    return np.random.default_rng(seed).integers(10, 2000, shape)


def planes(volume: np.ndarray | None = None, *, deidentified: bool = True) -> list[FileDataset]:
    """A de-identified CT series of unsigned 12 bit, one data set per plane."""
    volume = stored_volume() if volume is None else volume
    study, series, frame_of_reference = (generate_uid() for _ in range(3))
    datasets = []
    for index in range(volume.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SpecificCharacterSet = "ISO_IR 100"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ds.StudyDate, ds.StudyTime, ds.AccessionNumber = datetime.date(2020, 1, 2), "", "ACC-NO-1"
        ds.Modality, ds.Manufacturer, ds.ReferringPhysicianName = "CT", "ACME", ""
        ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "SECRET^NAME", "SECRET-ID", "", "O"
        if deidentified:
            ds.PatientIdentityRemoved, ds.DeidentificationMethod = "YES", "attribute allow-list"
        ds.BodyPartExamined, ds.SliceThickness, ds.KVP, ds.PatientPosition = "CHEST", 2.5, 120, "HFS"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame_of_reference
        ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = "", 4, 1, index + 1
        ds.PositionReferenceIndicator = ""
        ds.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + index * SPACING[2]]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing = [SPACING[1], SPACING[0]]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows, ds.Columns = volume.shape[1], volume.shape[0]
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
        ds.PixelData = volume[:, :, index].T.astype("<u2").tobytes()
        datasets.append(ds)
    return datasets


def save(datasets: list[FileDataset], folder: Path, names: list[str] | None = None) -> list[Path]:
    """Write the series, names shuffled so that order cannot come from them."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(1).permutation(len(datasets))
    names = names or [f"{number:04d}.dcm" for number in order]
    paths = [folder / name for name in names]
    for ds, path in zip(datasets, paths, strict=True):
        ds.save_as(path, enforce_file_format=True)
    return paths


def enhanced(datasets: list[FileDataset], order: list[int] | None = None) -> FileDataset:
    """The planes as one multi-frame file (legacy converted enhanced CT), its frames in any order."""
    order = order or list(range(len(datasets)))
    first = datasets[0]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = LegacyConvertedEnhancedCTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    moved = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept")
    for element in first:
        if element.keyword not in (*moved, "PixelData", "InstanceNumber"):
            ds.add(element)
    ds.SOPClassUID, ds.SOPInstanceUID = LegacyConvertedEnhancedCTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.NumberOfFrames = len(order)
    shared = Dataset()
    shared.PlaneOrientationSequence = [_with(ImageOrientationPatient=first.ImageOrientationPatient)]
    shared.PixelMeasuresSequence = [_with(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)]
    rescale = _with(RescaleSlope=first.RescaleSlope, RescaleIntercept=first.RescaleIntercept, RescaleType="HU")
    shared.PixelValueTransformationSequence = [rescale]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [
        _with(PlanePositionSequence=[_with(ImagePositionPatient=datasets[i].ImagePositionPatient)]) for i in order
    ]
    ds.PixelData = b"".join(datasets[i].PixelData for i in order)
    return ds


def _with(**attributes: object) -> Dataset:
    ds = Dataset()
    for name, value in attributes.items():
        setattr(ds, name, value)
    return ds


def phantom_series(folder: Path) -> tuple[Path, Path]:
    """A synthetic thorax as a de-identified CT series, and its lungs."""
    made = write_ct_phantoms(folder / "phantom", 1, size=(80, 64, 32), spacing=(4.4, 4.4, 6.0), seed=7)
    item = ct_datalist(made)[0]
    volume, mask = nib.load(item["image"]), nib.load(item["label"])
    stored = np.clip(np.asarray(volume.dataobj).astype(int) + 1024, 0, 4095)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine  # LPS
    signs = np.sign(np.diag(affine)[:3])
    datasets = planes(stored)
    for index, ds in enumerate(datasets):
        ds.ImageOrientationPatient = [signs[0], 0, 0, 0, signs[1], 0]
        ds.ImagePositionPatient = [round(float(v), 4) for v in (affine @ [0, 0, index, 1])[:3]]
        size = [round(abs(float(affine[i, i])), 4) for i in range(3)]  # a decimal string has 16 characters
        ds.PixelSpacing, ds.SliceThickness = [size[1], size[0]], size[2]
    save(datasets, folder / "series")
    nib.save(mask, folder / "label.nii.gz")
    return folder / "series", folder / "label.nii.gz"


def cut(path: Path, length: int) -> None:
    """Keep the first bytes of a file; a negative length cuts off the end."""
    path.write_bytes(path.read_bytes()[:length])


def reread(path: Path) -> pydicom.Dataset:
    return pydicom.dcmread(path)


def segmentation(datasets: list[FileDataset], mask: np.ndarray, path: Path, labels: list[str]) -> Path:
    """A DICOM SEG of a series: frames of every segment (1, 2, ... in the mask) where it is, in any order."""
    first, meta = datasets[0], FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SegmentationStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for name in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID", "Rows", "Columns"):
        setattr(ds, name, first.get(name))
    ds.SOPClassUID, ds.SOPInstanceUID = SegmentationStorage, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.SeriesInstanceUID, ds.SegmentationType = "SEG", generate_uid(), "BINARY"
    ds.ReferencedSeriesSequence = [_with(SeriesInstanceUID=first.SeriesInstanceUID)]
    ds.SegmentSequence = [_with(SegmentNumber=n, SegmentLabel=label) for n, label in enumerate(labels, 1)]
    shared = Dataset()
    shared.PlaneOrientationSequence = [_with(ImageOrientationPatient=first.ImageOrientationPatient)]
    shared.PixelMeasuresSequence = [_with(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)]
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = [
        (n, i) for i in reversed(range(mask.shape[2])) for n in range(1, len(labels) + 1) if (mask[..., i] == n).any()
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        _with(
            PlanePositionSequence=[_with(ImagePositionPatient=datasets[i].ImagePositionPatient)],
            SegmentIdentificationSequence=[_with(ReferencedSegmentNumber=n)],
        )
        for n, i in frames
    ]
    ds.NumberOfFrames = len(frames)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 1, 1, 0, 0
    bits = np.concatenate([(mask[..., i] == n).T.ravel() for n, i in frames])
    data = np.packbits(bits, bitorder="little").tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path
