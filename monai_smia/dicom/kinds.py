"""Kinds of DICOM objects that hold pixels and are no image of what was scanned."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.uid import ParametricMapStorage as PARAMETRIC_MAP
from pydicom.uid import SegmentationStorage

from monai_smia.dicom.errors import DicomSeriesError, cut_off

MAPS = (
    *("PERFUSION", "RCBF", "RCBV", "CBF", "CBV", "MTT", "TTP", "TMAX", "TTD", "PBV", "PERMEABILITY", "FLOW"),
    *("ADC", "FA", "VELOCITY", "T1 MAP", "T2 MAP", "T2_STAR MAP", "IODINE", "RHO_Z", "Z_EFF", "EFF_ATOMIC_NUM"),
)
NUMBERS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
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


def check_pixels(path: Path, header: pydicom.Dataset) -> None:
    """Refuse pixels that are not one number each, of which larger is brighter, in whole numbers.

    Raises:
        DicomSeriesError: that names the file and what it has.
    """
    if "Rows" not in header:
        raise DicomSeriesError(f"{path.name} holds no image ({getattr(header.get('SOPClassUID'), 'name', 'it is')}).")
    if "GridFrameOffsetVector" in header or header.get("Modality") == "RTDOSE":
        raise DicomSeriesError(f"{path.name} is a dose (its planes lie by GridFrameOffsetVector), no image of a scan.")
    whole = any(name in header for name in ("BitsStored", "HighBit", "PixelRepresentation"))
    if header.get("SOPClassUID") == PARAMETRIC_MAP or (header.get("BitsAllocated") in (32, 64) and not whole):
        raise DicomSeriesError(f"{path.name} is a parametric map of floating-point numbers, no image of a scan.")
    look, samples = header.get("PhotometricInterpretation"), header.get("SamplesPerPixel")
    if look == "MONOCHROME1":
        raise DicomSeriesError(
            f"{path.name} is inverted: it must have PhotometricInterpretation MONOCHROME2, got MONOCHROME1."
        )
    if samples not in (1, None) or look not in ("MONOCHROME2", None):
        raise DicomSeriesError(
            f"{path.name} is in color: it must have SamplesPerPixel 1 and MONOCHROME2, got {samples} and {look}."
        )
    for name in ("SamplesPerPixel", "PhotometricInterpretation", *NUMBERS):
        value = header.get(name)
        if value is None or (name in NUMBERS and not isinstance(value, int)):
            raise DicomSeriesError(f"{path.name} must have one {name}, got {value}{cut_off(path)}.")
    allocated, stored, high = header.BitsAllocated, header.BitsStored, header.HighBit
    if allocated == 1:
        raise DicomSeriesError(f"{path.name} holds one bit a pixel, a mask and no image.")
    if allocated not in (8, 16, 32) or stored == 32:
        raise DicomSeriesError(f"{path.name} must hold whole numbers of at most 31 bits, got {stored} of {allocated}.")
    if not 0 < stored <= allocated or high != stored - 1:
        raise DicomSeriesError(
            f"{path.name} has bits that contradict each other: allocated {allocated}, stored {stored}, high bit {high}."
        )


def map_of(header: pydicom.Dataset) -> str | None:
    """What a parametric map shows, by its ImageType; None where nothing says that it is one."""
    return next((kind for kind in kinds_of(header) if kind in MAPS), None)


def kinds_of(header: pydicom.Dataset) -> list[str]:
    """The values of ImageType, in capitals."""
    value = header.get("ImageType") or ()
    return [str(part).strip().upper() for part in ([value] if isinstance(value, str) else value)]
