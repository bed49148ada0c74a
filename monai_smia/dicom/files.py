"""DICOM image files: which series they belong to, what their frames say, and their stored values."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import pixel_array
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
)

from monai_smia.dicom.errors import DicomSeriesError, cut_off
from monai_smia.dicom.kinds import check_is_image, check_pixels, map_of

UNFINISHED = ".part"  # ends the name of a folder that is still being written
SUFFIXES = (".dcm", ".dicom", ".ima")
BARE = (b"\x02\0", b"\x08\0")  # how a file without a preamble begins: the group of its first element
DIRECTORY = pydicom.uid.MediaStorageDirectoryStorage
CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
MOST_MM = 100.0  # of a pixel
MOST_HU = 1e6
MOST = 1e12  # of any unit


@dataclass(frozen=True)
class DicomSlice:
    """One image plane, of a file of its own or a frame of a multi-frame file.

    Args:
        path: its file.
        header: all that the file says but the pixels.
        frame: index in its file.
        position: center of the first voxel in mm, LPS ``(3,)``.
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
        seen: set[str] = set()
        for place, folders, names in os.walk(path, followlinks=True):
            if os.path.realpath(place) in seen:  # a link that leads in a circle
                folders.clear()
                continue
            seen.add(os.path.realpath(place))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found = (Path(place, name) for name in sorted(names) if not name.startswith("."))
            files += [file for file in found if file.is_file() and (_bare(file) or looks_like_dicom(file))]
    if not files:
        raise DicomSeriesError("found no DICOM file.")
    return files


def _bare(path: Path) -> bool:
    """Whether its name has no suffix, as ``IM0001`` and ``1.2.840.113`` have none, and it is no text, as README is."""
    if path.suffix and not path.suffix[1:].isdigit():
        return False
    with path.open("rb") as file:
        head = file.read(256)
    return not head or b"\0" in head


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
        DicomSeriesError: if it is not DICOM, or cut off before its series and its size are named.
    """
    with naming(path):
        header = parse(path, stop_before_pixels=True)
        header.buffer = None
        if header.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY:
            return None
        needed = ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"]
        if "Image" in getattr(header.get("SOPClassUID"), "name", ""):  # a report has none
            needed.append("Rows")
        for name in needed:
            if not header.get(name):
                what = (
                    f"is truncated, or was never whole: it has no {name}"
                    if cut_off(path)
                    else f"must have {name}, and has none"
                )
                raise DicomSeriesError(f"{path.name} {what}.")
    return header


def parse(path: Path, *, stop_before_pixels: bool = False) -> pydicom.Dataset:
    """A file as pydicom reads it; one that begins without a preamble, as old ones do, all the same."""
    content = path.read_bytes()  # without its name, which pydicom's warnings would quote with all folders
    bare = content[128:132] != b"DICM" and content[:2] in BARE
    ds = pydicom.dcmread(BytesIO(content), stop_before_pixels=stop_before_pixels, force=bare)
    if bare and "TransferSyntaxUID" not in ds.file_meta:  # which was the only one before there were preambles
        implicit, _ = ds.original_encoding
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return ds


@contextmanager
def naming(path: Path, attribute: str = "") -> Iterator[None]:
    """Whatever the parser makes of a spoilt header, at once or when a value is asked for, is the fault of its file.

    Only the kind of the fault is quoted, for its text may quote the header, names and all.
    """
    try:
        yield
    except DicomSeriesError:
        raise
    except Exception as error:  # pydicom, zlib and struct each raise their own
        what = f"{path.name} has an unreadable {attribute}" if attribute else f"{path.name} is not DICOM"
        raise DicomSeriesError(f"{what}, or is truncated or damaged: {type(error).__name__}.") from None


def slices_of(path: Path, header: pydicom.Dataset) -> list[DicomSlice]:
    """The planes of one file.

    Raises:
        DicomSeriesError: if the file is not one of planes with a position and a unit.
    """
    with naming(path):
        return _slices(path, header)


def _slices(path: Path, header: pydicom.Dataset) -> list[DicomSlice]:
    check_is_image(path, header)
    check_pixels(path, header)
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
    try:
        ds = parse(path)
        pixels = pixel_array(ds, raw=True, correct_unused_bits=False)
    except Exception as error:  # every decoder raises its own
        reason = str(error).replace("\n", " ")
        doubt = "" if "missing dependencies" in reason or "decoder" in reason else " (truncated?)"
        raise DicomSeriesError(f"the pixels of {path.name} do not decode{doubt}: {reason}") from error
    return _without_unused_bits(path, ds, pixels)


def _without_unused_bits(path: Path, header: pydicom.Dataset, pixels: np.ndarray) -> np.ndarray:
    """The bits that are stored; an overlay may lie in those above, and the sign of a negative number does."""
    shift = header.BitsAllocated - header.BitsStored
    plain = (pixels << shift) >> shift
    claimed = sum(
        1 << int(header[tag, 0x0102].value or 0) for tag in range(0x6000, 0x6020, 2) if (tag, 0x0102) in header
    )
    above = np.bitwise_or.reduce((pixels ^ plain).ravel().view(f"u{pixels.dtype.itemsize}"))
    if int(above) & ~claimed and not header.file_meta.TransferSyntaxUID.is_encapsulated:
        most = int(np.abs(pixels.astype(np.int64)).max())
        raise DicomSeriesError(
            f"{path.name} holds values of more than the {header.BitsStored} bits that it says it stores, up to {most}."
        )
    return plain


def stored_range(header: pydicom.Dataset) -> tuple[int, int]:
    """Lowest and highest value that the stored bits can hold."""
    bits = int(header.BitsStored)
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if header.PixelRepresentation else (0, (1 << bits) - 1)


def _slice(path: Path, header: pydicom.Dataset, frame: int) -> DicomSlice:
    def vector(sequence: str, name: str, length: int) -> np.ndarray:
        source = _group(header, frame, sequence)
        with naming(path, name):
            value = None if source is None else source.get(name)
        if value is None or len(np.atleast_1d(value)) != length:
            raise DicomSeriesError(f"{path.name} must have {name} with {length} values, got {value}{cut_off(path)}.")
        numbers = np.asarray([float(v) for v in value])
        if not np.isfinite(numbers).all():
            raise DicomSeriesError(f"{path.name} must have finite {name}, got {numbers.tolist()}.")
        return numbers

    kind = _group(header, frame, "CTImageFrameTypeSequence")
    if kind is not None and "LOCALIZER" in (kind.get("FrameType") or ()):
        raise DicomSeriesError(f"{path.name} holds a localizer, frame {frame + 1}; leave it out.")
    position = vector("PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = vector("PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = vector("PixelMeasuresSequence", "PixelSpacing", 2)
    row, column = orientation[:3], orientation[3:]
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > 1e-3:
        raise DicomSeriesError(f"{path.name} must have orthogonal unit vectors as orientation, got {orientation}.")
    if not ((spacing > 0) & (spacing <= MOST_MM)).all():
        raise DicomSeriesError(f"{path.name} must have PixelSpacing > 0 and <= {MOST_MM:g} mm, got {spacing.tolist()}.")
    return DicomSlice(path, header, frame, position, orientation, spacing, *_rescale(path, header, frame))


def _rescale(path: Path, header: pydicom.Dataset, frame: int) -> tuple[float, float]:
    source = _group(header, frame, "PixelValueTransformationSequence") or pydicom.Dataset()
    with naming(path, "RescaleSlope or RescaleIntercept"):
        numbers = [source.get(f"Rescale{name}") for name in ("Slope", "Intercept")]
        slope, intercept = (None if v is None else float(v) for v in numbers)
        unit = source.get("RescaleType")
    hounsfield = header.get("Modality") == "CT" or header.SOPClassUID in CT_CLASSES
    if hounsfield:
        if slope is None or intercept is None:
            raise DicomSeriesError(f"{path.name} has no RescaleSlope and RescaleIntercept: its HU are not known.")
        # US is unspecified: ITK's and GDCM's writers make it of HU, and scanners of a map
        known = (None, "", "HU") if map_of(header) else (None, "", "HU", "US")
        if unit not in known:
            raise DicomSeriesError(f"{path.name} must have values in HU, got RescaleType {unit!r}.")
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if not (np.isfinite([slope, intercept]).all() and slope > 0):
        raise DicomSeriesError(f"{path.name} must have a finite RescaleSlope > 0, got {slope} and {intercept}.")
    bounds = [slope * value + intercept for value in stored_range(header)]
    if max(map(abs, bounds)) > (MOST_HU if hounsfield and header.BitsStored <= 16 else MOST):
        raise DicomSeriesError(
            f"{path.name} must have values of a scan, got {bounds[0]:g} to {bounds[1]:g} by its slope."
        )
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
