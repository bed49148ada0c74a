"""What the planes of one series have in common, and what tells two planes at one position apart."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_smia.dicom.errors import DicomSeriesError
from monai_smia.dicom.files import DicomSlice, naming
from monai_smia.dicom.kinds import kinds_of

LOGGER = logging.getLogger(__name__)
IDENTITY = ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID")  # compared, and not quoted
SAME = (
    *("Modality", "SOPClassUID", "Rows", "Columns", "BitsStored", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "PatientPosition", "ConvolutionKernel", "KVP"),
    "GantryDetectorTilt",
)
# a series may hold several volumes, which differ in one of these
VOLUMES = ("TemporalPositionIndex", "TemporalPositionIdentifier", "DiffusionBValue", "EchoNumbers", "EchoTime")
APART = (*VOLUMES, "AcquisitionNumber", "RescaleSlope", "ImageType")
TIMES = ("AcquisitionTime", "TriggerTime", "ContentTime")  # named, and not quoted
MADE = ("MIP", "MINIP", "MPR", "REFORMATTED", "PROJECTION IMAGE", "AVERAGE", "SUBTRACTION")  # out of other planes


def check_alike(slices: Sequence[DicomSlice]) -> None:
    """Refuse planes that are not of one image.

    Raises:
        DicomSeriesError: that names a plane that is not as the first, and in what; it quotes no UID and no patient.
    """
    first, seen = slices[0], dict[tuple[str, int], DicomSlice]()
    for plane in slices:
        key = (str(plane.header.get("SOPInstanceUID")), plane.frame)
        if key in seen:
            raise DicomSeriesError(f"{seen[key].name} and {plane.name} are the same image, by their SOPInstanceUID.")
        seen[key] = plane
        for name in IDENTITY:
            if _value(plane, name) != _value(first, name):
                what = "are of different patients" if name == "PatientID" else f"have not the same {name}"
                raise DicomSeriesError(f"{plane.name} and {first.name} {what}.")
        _check_values(plane, first, SAME)
        for name in ("orientation", "spacing"):
            ours, theirs = (getattr(p, name) for p in (plane, first))
            if not np.allclose(ours, theirs, rtol=0, atol=1e-4):
                raise DicomSeriesError(f"{plane.name} has another {name} than {first.name}: {ours} and {theirs}.")
        ours, theirs = (set(kinds_of(p.header)) & set(MADE) for p in (plane, first))
        if ours != theirs:
            one, kind = (plane, ours - theirs) if ours - theirs else (first, theirs - ours)
            raise DicomSeriesError(
                f"{one.name} is made of other planes ({', '.join(sorted(kind))}), and others are not."
            )


def check_one_volume(slices: Sequence[DicomSlice]) -> None:
    """Refuse planes of several times, echoes or b-values, though each lies at a position of its own.

    Raises:
        DicomSeriesError: that names two planes and in what they differ.
    """
    for plane in slices:
        _check_values(plane, slices[0], VOLUMES)


def tell_rescaling(slices: Sequence[DicomSlice]) -> None:
    """Say where planes of a CT have not all the same slope and intercept, as a spoilt header has not, either."""
    first = slices[0]
    others = [p for p in slices if (p.slope, p.intercept) != (first.slope, first.intercept)]
    if others and first.header.get("Modality") == "CT":
        LOGGER.warning(
            "%d of %d planes have another RescaleSlope or RescaleIntercept than %s, %s first: (%g, %g) and (%g, %g).",
            *(len(others), len(slices), first.name, others[0].name),
            *(others[0].slope, others[0].intercept, first.slope, first.intercept),
        )


def apart(one: DicomSlice, other: DicomSlice) -> str:
    """What two planes at one position differ in, in words that follow a sentence; empty where nothing tells."""
    told = []
    for name in (*APART, *TIMES):
        ours, theirs = _value(one, name), _value(other, name)
        if ours != theirs:
            told.append(name if name in TIMES else f"{name} ({ours} and {theirs})")
    return f"; they differ in {', '.join(told)}: choose the files of one volume" if told else ""


def _check_values(plane: DicomSlice, first: DicomSlice, names: Sequence[str]) -> None:
    for name in names:
        ours, theirs = _value(plane, name), _value(first, name)
        if ours != theirs:
            raise DicomSeriesError(f"{plane.name} has {name} {ours}, but {first.name} has {theirs}.")


def _value(plane: DicomSlice, name: str) -> Any:
    with naming(plane.path, name):
        return plane.header.get(name)
