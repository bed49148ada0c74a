"""Kinds of DICOM objects that hold pixels and are no image of what was scanned."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.uid import SegmentationStorage

from monai_smia.dicom.errors import DicomSeriesError

MAPS = (
    *("PERFUSION", "RCBF", "RCBV", "CBF", "CBV", "MTT", "TTP", "TMAX", "TTD", "PBV", "PERMEABILITY", "FLOW"),
    *("ADC", "FA", "VELOCITY", "T1 MAP", "T2 MAP", "T2_STAR MAP", "IODINE", "RHO_Z", "Z_EFF", "EFF_ATOMIC_NUM"),
)
COLORS = ("COLOR", "MIXED", "TRUE_COLOR")


def check_is_image(path: Path, header: pydicom.Dataset) -> None:
    """Refuse what holds pixels and is no image: a segmentation, a mosaic, a map in colors, a localizer.

    Raises:
        DicomSeriesError: that names the file and what it is.
    """
    kinds = kinds_of(header)
    if header.get("SOPClassUID") == SegmentationStorage or header.get("Modality") == "SEG":
        raise DicomSeriesError(f"{path.name} is a DICOM segmentation, no image.")
    if "MOSAIC" in kinds:
        raise DicomSeriesError(f"{path.name} is a mosaic, many planes in one; convert it to planes first.")
    if str(header.get("PixelPresentation") or "").upper() in COLORS:
        what = f" of {name}" if (name := map_of(header)) else ""
        raise DicomSeriesError(f"{path.name} is a map{what} made to be shown in colors, no image of what was scanned.")
    if "LOCALIZER" in kinds:
        raise DicomSeriesError(f"{path.name} is a localizer inside the series; leave it out.")


def map_of(header: pydicom.Dataset) -> str | None:
    """What a parametric map shows, by its ImageType; None where nothing says that it is one."""
    return next((kind for kind in kinds_of(header) if kind in MAPS), None)


def kinds_of(header: pydicom.Dataset) -> list[str]:
    """The values of ImageType, in capitals."""
    value = header.get("ImageType") or ()
    return [str(part).strip().upper() for part in ([value] if isinstance(value, str) else value)]
