"""DICOM objects that a product answers with, made by hand: a structure set and a report of a series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from monai_smia.adapters.product.queries import Query, Source
from monai_smia.dicom import DicomSeries

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
BOX = ((2.5, 1.5), (8.5, 7.5))  # corners half a voxel outside of columns 3 to 8, rows 2 to 7
HOLE = ((4.5, 3.5), (6.5, 5.5))


def query_of(series: Path, folder: Path) -> Query:
    """A query about a series, unchanged."""
    folder.mkdir(parents=True, exist_ok=True)
    source = Source(series)
    return source.write(source.before, folder, "a test")


def _answer(series: DicomSeries, kind: str, modality: str) -> Dataset:
    header, ds, meta = series.slices[0].header, Dataset(), FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta = meta
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = kind, meta.MediaStorageSOPInstanceUID, modality
    ds.StudyInstanceUID, ds.PatientID, ds.PatientName = header.StudyInstanceUID, header.PatientID, header.PatientName
    ds.SeriesInstanceUID, ds.Manufacturer = generate_uid(), "by hand"
    return ds


def _item(**values: Any) -> Dataset:
    ds = Dataset()
    for name, value in values.items():
        setattr(ds, name, value)
    return ds


def _images(series: DicomSeries, sequence: str = "ReferencedSOPInstanceUID") -> list[Dataset]:
    uids = [str(plane.header.SOPInstanceUID) for plane in series.slices]
    return [_item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=uid) for uid in uids]


def contour(series: DicomSeries, plane: int, corners: Any) -> Dataset:
    """A rectangle in a plane, in mm of the patient."""
    (left, top), (right, bottom) = corners
    points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    affine = LPS @ series.affine
    data = [float(v) for x, y in points for v in (affine @ [x, y, plane, 1])[:3]]
    return _item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=4, ContourData=[round(v, 6) for v in data])


def structures_of(series: DicomSeries, names: tuple[str, ...] = ("Lung",), planes: range = range(2, 6)) -> Dataset:
    """A structure set of a box with a hole in every plane, and, of a second region, of the hole."""
    ds = _answer(series, RTStructureSetStorage, "RTSTRUCT")
    frame = series.slices[0].header.FrameOfReferenceUID
    referred = _item(SeriesInstanceUID=series.uid, ContourImageSequence=_images(series))
    study = _item(RTReferencedSeriesSequence=[referred])
    ds.ReferencedFrameOfReferenceSequence = [_item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])]
    shapes = ((BOX, HOLE), (HOLE,))
    ds.StructureSetROISequence = [
        _item(ROINumber=number, ROIName=name, ReferencedFrameOfReferenceUID=frame)
        for number, name in enumerate(names, 7)
    ]
    ds.ROIContourSequence = [
        _item(
            ReferencedROINumber=number,
            ContourSequence=[contour(series, plane, corners) for plane in planes for corners in shapes[number - 7]],
        )
        for number, _ in enumerate(names, 7)
    ]
    return ds


def structures_expected(shape: tuple[int, ...], regions: int = 1, planes: range = range(2, 6)) -> np.ndarray:
    """The label map of `structures_of`."""
    labels = np.zeros(shape, np.uint16)
    labels[3:9, 2:8, planes.start : planes.stop] = 1
    labels[5:7, 4:6, planes.start : planes.stop] = 2 if regions > 1 else 0
    return labels


def _code(value: str, meaning: str, scheme: str = "SCT") -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def number(value: float | None, code: str = "118565006", meaning: str = "Volume") -> Dataset:
    """A measured number."""
    measured = [] if value is None else [_item(NumericValue=str(value), MeasurementUnitsCodeSequence=[])]
    return _item(
        ValueType="NUM", ConceptNameCodeSequence=[_code(code, meaning)], MeasuredValueSequence=measured,
        RelationshipType="CONTAINS",
    )  # fmt: skip


def coded(meaning: str) -> Dataset:
    """A finding as a code."""
    name = [_code("121071", "Finding", "DCM")]
    return _item(ValueType="CODE", ConceptNameCodeSequence=name, ConceptCodeSequence=[_code("1", meaning, "99TEST")])


def report_of(series: DicomSeries, *items: Dataset) -> Dataset:
    """A report with content items two levels down, as TID 1500 has its measurements."""
    ds = _answer(series, Comprehensive3DSRStorage, "SR")
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    referred = _item(SeriesInstanceUID=series.uid, ReferencedSOPSequence=_images(series))
    study = _item(StudyInstanceUID=ds.StudyInstanceUID, ReferencedSeriesSequence=[referred])
    ds.CurrentRequestedProcedureEvidenceSequence = [study]
    group = _item(ValueType="CONTAINER", ConceptNameCodeSequence=[_code("125007", "Measurement Group", "DCM")])
    group.ContentSequence = list(items)
    whole = _item(ValueType="CONTAINER", ConceptNameCodeSequence=[_code("126010", "Imaging Measurements", "DCM")])
    whole.ContentSequence = [group]
    ds.ContentSequence = [whole]
    return ds
