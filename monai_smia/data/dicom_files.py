"""DICOM image files: which series they belong to, what their frames say, and their stored values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels import pixel_array

UNFINISHED = ".part"  # ends the name of a folder that is still being written
SUFFIXES = (".dcm", ".dicom", ".ima")
DIRECTORY = pydicom.uid.MediaStorageDirectoryStorage


class DicomSeriesError(ValueError):
    """A series that cannot be read as one volume; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class DicomSlice:
    """One image plane, of a file of its own or a frame of a multi-frame file.

    Args:
        path: its file.
        header: all that the file says but the pixels.
        frame: index in its file.
        position: centre of the first voxel in mm, LPS ``(3,)``.
        orientation: direction cosines of a row and of a column, LPS ``(6,)``.
        spacing: distance between rows and between columns in mm ``(2,)``.
        slope: unit (HU) per stored unit.
        intercept: value of a stored 0.
    """

    path: Path
    header: pydicom.Dataset
    frame: int
    position: np.ndarray
    orientation: np.ndarray
    spacing: np.ndarray
    slope: float
    intercept: float

    @property
    def name(self) -> str:
        """How messages call it: the file without its folder, which may hold a patient's name."""
        return f"{self.path.name}, frame {self.frame + 1}" if "NumberOfFrames" in self.header else self.path.name


def image_files(paths: Iterable[Path]) -> list[Path]:
    """Files to read: those given, and all below the folders given but hidden ones and those with another suffix.

    Raises:
        DicomSeriesError: if there are none, or a folder is one whose writing was interrupted.
        FileNotFoundError: if a path does not exist.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist.")
        folder = path.parent if path.is_file() else path
        if folder.name.endswith(UNFINISHED):
            raise DicomSeriesError(f"folder {folder.name} is a series whose writing was interrupted; write it again.")
        if path.is_file():
            files.append(path)
            continue
        for file in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.is_file() and not hidden and (not file.suffix or looks_like_dicom(file)):
                files.append(file)
    if not files:
        raise DicomSeriesError("found no DICOM file.")
    return files


def looks_like_dicom(path: Path) -> bool:
    """Whether a file is named as DICOM or begins as such."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_header(path: Path) -> pydicom.Dataset | None:
    """All of a file but its pixels; None for a DICOMDIR.

    Raises:
        DicomSeriesError: if it is not DICOM, or cut off before its series is named.
    """
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise DicomSeriesError(f"{path.name} is not DICOM, or is truncated: {error}") from error
    if header.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY:
        return None
    if "SeriesInstanceUID" not in header or "SOPClassUID" not in header:
        raise DicomSeriesError(f"{path.name} is truncated: it ends before it names its series.")
    return header


def slices_of(path: Path, header: pydicom.Dataset) -> list[DicomSlice]:
    """The planes of one file.

    Raises:
        DicomSeriesError: if the file is not one of planes with a position and a unit.
    """
    if header.get("ImageType", [""] * 3)[2:3] == ["LOCALIZER"]:
        raise DicomSeriesError(f"{path.name} is a localizer inside the series; leave it out.")
    for name, allowed in (("SamplesPerPixel", (1,)), ("PhotometricInterpretation", ("MONOCHROME2",))):
        if header.get(name) not in allowed:
            raise DicomSeriesError(f"{path.name} must have {name} {allowed[0]}, got {header.get(name)}.")
    if header.BitsStored > header.BitsAllocated or header.HighBit != header.BitsStored - 1:
        bits = f"allocated {header.BitsAllocated}, stored {header.BitsStored}, high bit {header.HighBit}"
        raise DicomSeriesError(f"{path.name} has bits that contradict each other: {bits}.")
    if "ModalityLUTSequence" in header:
        raise DicomSeriesError(f"{path.name} maps its values by a table (ModalityLUTSequence), not by a slope.")
    groups = header.get("PerFrameFunctionalGroupsSequence")
    frames = int(header.get("NumberOfFrames") or 1)
    if groups is None and frames > 1:
        raise DicomSeriesError(f"{path.name} has {frames} frames that do not say where they lie.")
    if groups is not None and len(groups) != frames:
        raise DicomSeriesError(f"{path.name} has {frames} frames and describes {len(groups)}.")
    return [_slice(path, header, frame) for frame in range(frames)]


def decode(path: Path) -> np.ndarray:
    """Stored values of a file as its compression gives them: ``(rows, columns)`` or ``(frames, rows, columns)``.

    Raises:
        DicomSeriesError: if the pixels are missing, cut off or do not decode.
    """
    dataset = pydicom.dcmread(path)
    try:
        return pixel_array(dataset, raw=True)
    except Exception as error:  # every decoder raises its own
        reason = str(error).replace("\n", " ")
        raise DicomSeriesError(f"the pixels of {path.name} do not decode (truncated?): {reason}") from error


def stored_range(header: pydicom.Dataset) -> tuple[int, int]:
    """Lowest and highest value that the stored bits can hold."""
    bits = int(header.BitsStored)
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if header.PixelRepresentation else (0, (1 << bits) - 1)


def _slice(path: Path, header: pydicom.Dataset, frame: int) -> DicomSlice:
    def vector(sequence: str, name: str, length: int) -> np.ndarray:
        source = _group(header, frame, sequence)
        value = None if source is None else source.get(name)
        if value is None or len(np.atleast_1d(value)) != length:
            raise DicomSeriesError(f"{path.name} must have {name} with {length} values, got {value} (truncated?).")
        numbers = np.asarray([float(v) for v in value])
        if not np.isfinite(numbers).all():
            raise DicomSeriesError(f"{path.name} must have finite {name}, got {numbers.tolist()}.")
        return numbers

    position = vector("PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = vector("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = vector("PixelMeasuresSequence", "PixelSpacing", 2)
    row, column = orientation[:3], orientation[3:]
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > 1e-3:
        raise DicomSeriesError(f"{path.name} must have orthogonal unit vectors as orientation, got {orientation}.")
    if not (spacing > 0).all():
        raise DicomSeriesError(f"{path.name} must have PixelSpacing > 0, got {spacing.tolist()}.")
    return DicomSlice(path, header, frame, position, orientation, spacing, *_rescale(path, header, frame))


def _rescale(path: Path, header: pydicom.Dataset, frame: int) -> tuple[float, float]:
    source = _group(header, frame, "PixelValueTransformationSequence") or pydicom.Dataset()
    slope, intercept, unit = (source.get(f"Rescale{name}") for name in ("Slope", "Intercept", "Type"))
    if header.get("Modality") == "CT":
        if slope is None or intercept is None:
            raise DicomSeriesError(f"{path.name} has no RescaleSlope and RescaleIntercept: its HU are not known.")
        if unit not in (None, "", "HU"):
            raise DicomSeriesError(f"{path.name} must have values in HU, got RescaleType {unit!r}.")
    slope, intercept = (default if v is None else float(v) for v, default in ((slope, 1.0), (intercept, 0.0)))
    if not (np.isfinite([slope, intercept]).all() and slope > 0):
        raise DicomSeriesError(f"{path.name} must have a finite RescaleSlope > 0, got {slope} and {intercept}.")
    return slope, intercept


def _group(header: pydicom.Dataset, frame: int, sequence: str) -> Any:
    """Where an attribute of a frame is found: the header itself, or a functional group of a multi-frame file."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        return header
    shared: Sequence[Any] = header.get("SharedFunctionalGroupsSequence") or []
    for group in (header.PerFrameFunctionalGroupsSequence[frame], *shared):
        if group.get(sequence):
            return group[sequence][0]
    return None
