"""DICOM segmentations of a series: which structures they hold, and their masks on its grid."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import pixel_array
from pydicom.uid import SegmentationStorage

from monai_smia.dicom.errors import DicomSeriesError
from monai_smia.dicom.files import naming, parse, read_header
from monai_smia.dicom.series import LPS_TO_RAS, DicomSeries

NEAR = 0.1  # of a voxel, that a segmentation's plane may lie beside the series'


@dataclass(frozen=True)
class DicomSegmentation:
    """A segmentation object of binary segments (DICOM SEG).

    Args:
        path: its file.
        header: all of it but the pixels.
        series_uid: SeriesInstanceUID of the images that it is of.
        segments: of every segment's number its names: label and code, in small letters.
    """

    path: Path
    header: pydicom.Dataset
    series_uid: str
    segments: dict[int, frozenset[str]]

    def mask(self, series: DicomSeries, numbers: Collection[int]) -> np.ndarray:
        """Where one of some segments lies in a series ``(columns, rows, planes)``, uint8; planes without one are 0.

        Raises:
            DicomSeriesError: if the planes are not those of the series, or the pixels do not decode.
        """
        found = np.zeros(series.shape, np.uint8)
        with naming(self.path, "PixelData"):
            pixels = np.asarray(pixel_array(parse(self.path), raw=True))
        pixels = pixels[None] if pixels.ndim == 2 else pixels
        groups = self.header.PerFrameFunctionalGroupsSequence
        shared = self.header.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]
        if pixels.shape != (len(groups), *series.shape[1::-1]):
            raise DicomSeriesError(
                f"{self.path.name} must hold frames of {series.shape[1]} rows and {series.shape[0]} columns, as its "
                f"series, got {pixels.shape}."
            )
        for frame, group in enumerate(groups):
            with naming(self.path, "ReferencedSegmentNumber"):
                own = group if "SegmentIdentificationSequence" in group else shared[0]  # there, where all are of one
                number = int(own.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            if number in numbers:
                found[..., self._plane(series, frame)] |= pixels[frame].T.astype(np.uint8)
        return found

    def _plane(self, series: DicomSeries, frame: int) -> int:
        """The plane of the series that a frame lies in."""
        position = self._of_frame(frame, "PlanePositionSequence", "ImagePositionPatient")
        orientation = self._of_frame(frame, "PlaneOrientationSequence", "ImageOrientationPatient")
        spacing = self._of_frame(frame, "PixelMeasuresSequence", "PixelSpacing")
        first = series.slices[0]
        to_voxels = np.linalg.inv(LPS_TO_RAS @ series.affine)
        place = to_voxels[:3, :3] @ position + to_voxels[:3, 3]
        plane = round(float(place[2]))
        aligned = np.allclose(orientation, first.orientation, atol=1e-3) and np.allclose(spacing, first.spacing, 1e-2)
        if not aligned or np.abs(place - [0, 0, plane]).max() > NEAR or not 0 <= plane < len(series.slices):
            raise DicomSeriesError(
                f"frame {frame + 1} of {self.path.name} lies in no plane of the series that it is of: resample the "
                "segmentation to the series."
            )
        return plane

    def _of_frame(self, frame: int, sequence: str, name: str) -> np.ndarray:
        shared = self.header.get("SharedFunctionalGroupsSequence") or []
        with naming(self.path, name):
            for group in (self.header.PerFrameFunctionalGroupsSequence[frame], *shared):
                if group.get(sequence):
                    return np.asarray([float(value) for value in group[sequence][0].get(name)])
        raise DicomSeriesError(f"{self.path.name} must have {name} in {sequence}, and has none.")


def is_segmentation(header: Any) -> bool:
    """Whether a header is that of a segmentation."""
    return header is not None and header.get("SOPClassUID") == SegmentationStorage


def read_dicom_segmentation(path: Path) -> DicomSegmentation:
    """Read the header of a segmentation; pixels are decoded when asked for.

    Raises:
        DicomSeriesError: if it is none, is fractional, or does not say of which series it is.
    """
    header = read_header(path)
    if header is None or not is_segmentation(header):
        raise DicomSeriesError(f"{path.name} is no DICOM segmentation.")
    kind = str(header.get("SegmentationType"))
    if kind != "BINARY":
        raise DicomSeriesError(f"{path.name} must be a BINARY segmentation, got {kind}: a share is no decision.")
    with naming(path, "ReferencedSeriesSequence or SegmentSequence"):
        of = {str(item.SeriesInstanceUID) for item in header.get("ReferencedSeriesSequence") or []}
        segments = {int(item.SegmentNumber): _names(item) for item in header.SegmentSequence}
    if len(of) != 1:
        raise DicomSeriesError(f"{path.name} must be of one series (ReferencedSeriesSequence), got {len(of)}.")
    return DicomSegmentation(path, header, of.pop(), segments)


def _names(segment: Any) -> frozenset[str]:
    """What a segment is called: its label, and meaning and value of its code."""
    codes = segment.get("SegmentedPropertyTypeCodeSequence") or []
    texts = [segment.get("SegmentLabel"), *(code.get(name) for code in codes for name in ("CodeMeaning", "CodeValue"))]
    return frozenset(" ".join(str(text).lower().replace("_", " ").replace("-", " ").split()) for text in texts if text)
