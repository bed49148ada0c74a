"""What a DICOM object that a product returns refers to, and whether that is what was sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataelem import RawDataElement

from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.queries import Query

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"  # RT Structure Set
REPORTS = {  # structured reports that can hold TID 1500
    "1.2.840.10008.5.1.4.1.1.88.22": "Enhanced SR",
    "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR",
}
NAMES = {SEGMENTATION: "DICOM SEG", STRUCTURES: "RTSTRUCT", **dict.fromkeys(REPORTS, "SR")}


UNDEFINED = 0xFFFFFFFF  # length of an element that says itself where it ends


def read_object(path: Path) -> Any:
    """The DICOM object of a file that is whole: what is read of one that is cut off may pass for less of an answer.

    Raises:
        AnswerError: if it is none, or is cut off.
    """
    content = path.read_bytes()
    if not content:
        raise AnswerError(f"the answer {path.name} is empty.")
    try:
        dataset = pydicom.dcmread(BytesIO(content))
        elements = list(map(dataset.get_item, dataset.keys()))
    except Exception as error:  # pydicom, zlib and struct each raise their own, which may quote the header
        raise AnswerError(f"the answer {path.name} cannot be read: {type(error).__name__}.") from None
    for element in elements:
        told = element.length if isinstance(element, RawDataElement) and element.length != UNDEFINED else 0
        if told and len(element.value or b"") < told:
            raise AnswerError(f"the answer {path.name} cannot be read: it is cut off.")
    return dataset


def kind_of(dataset: Any) -> str:
    """What an object is called: ``"DICOM SEG"``, ``"RTSTRUCT"``, ``"SR"``, or nothing where it is none of them."""
    return NAMES.get(str(dataset.get("SOPClassUID")), "")


def referred_series(dataset: Any) -> set[str]:
    """SeriesInstanceUIDs that a segmentation, a structure set or a report refers to."""
    return {str(each.get("SeriesInstanceUID")) for each in series_of(dataset)}


def series_of(dataset: Any) -> Iterator[Any]:
    """What an object says of every series that it refers to."""
    yield from dataset.get("ReferencedSeriesSequence") or []
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            yield from study.get("RTReferencedSeriesSequence") or []
    for name in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in dataset.get(name) or []:
            yield from study.get("ReferencedSeriesSequence") or []


def check_origin(dataset: Any, query: Query, names: Iterable[str] = ("StudyInstanceUID", "PatientID")) -> Any:
    """The series that was sent, once it is clear that an object is of it.

    Args:
        dataset: what came back.
        query: what was asked.
        names: attributes that must be those of the series.

    Raises:
        AnswerError: if no DICOM series was asked about, or the object is of another series, study or patient.
    """
    series, what = query.series, kind_of(dataset) or "DICOM object"
    if series is None:
        raise AnswerError(f"the answer is a {what}, and what was asked is no DICOM series: is it its own?")
    header = series.slices[0].header
    if series.uid not in referred_series(dataset):
        raise AnswerError("the answer refers to another series than that which was sent.")
    for name in names:
        if dataset.get(name) != header.get(name):
            raise AnswerError(f"the answer has another {name} than the series that was sent.")
    return series


def check_images(referred: Iterable[str], query: Query) -> None:
    """Raise where an object refers to images that were not sent.

    Args:
        referred: SOPInstanceUIDs.
        query: what was asked.

    Raises:
        AnswerError: that says how many.
    """
    sent = set() if query.series is None else {str(plane.header.SOPInstanceUID) for plane in query.series.slices}
    if others := set(referred) - sent:
        raise AnswerError(f"the answer refers to {len(others)} images that were not sent.")
