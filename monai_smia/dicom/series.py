"""A DICOM series as one volume: sorted by position, and refused by name where it is not a whole and regular one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from monai_smia.dicom.alike import apart, check_alike, check_one_volume, tell_rescaling
from monai_smia.dicom.files import (
    DicomSeriesError,
    DicomSlice,
    decode,
    image_files,
    naming,
    read_header,
    slices_of,
    stored_range,
)

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

MOST_MM = 100.0  # from plane to plane
LEAST_HU = -1024.0  # of what was scanned
MOST_DEGREES = 1.0  # that a header may be wrong about the tilt
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class DicomSeries:
    """The planes of one series along their normal, and where they lie.

    Args:
        slices: the planes, from the lowest position along the normal on.
        affine: from voxel indices ``(column, row, plane)`` to mm, RAS, as NIfTI and MONAI have it ``(4, 4)``.
    """

    slices: tuple[DicomSlice, ...]
    affine: np.ndarray

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return str(self.slices[0].header.SeriesInstanceUID)

    @property
    def name(self) -> str:
        """What a case of it is called: by its UID's hash, for folders and files are named after patients."""
        return series_name(self.uid)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, planes."""
        header = self.slices[0].header
        return int(header.Columns), int(header.Rows), len(self.slices)

    @property
    def padding(self) -> tuple[int, int] | None:
        """Lowest and highest stored value that stands for "nothing was scanned here", if there is one.

        Compression with loss moves padding: below what a CT scans it is all that is nearer to it than to that.
        """
        header = self.slices[0].header
        value = header.get("PixelPaddingValue")
        if value is None:
            return None
        limit = header.get("PixelPaddingRangeLimit")
        low, high = sorted(_as_stored(int(v), header) for v in (value, value if limit is None else limit))
        nothing = (LEAST_HU - self.slices[0].intercept) / self.slices[0].slope
        if header.get("LossyImageCompression") == "01" and header.get("Modality") == "CT" and high < nothing:
            return stored_range(header)[0], int((high + nothing) / 2)
        return low, high

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value that some plane can store, in the series' unit.

        Planes may have slopes of their own (PET): what one cannot hold stops at its own limit when it is stored.
        """
        low, high = (self.to_values(np.full(len(self.slices), v)) for v in stored_range(self.slices[0].header))
        return float(low.min()), float(high.max())

    def to_values(self, stored: np.ndarray) -> np.ndarray:
        """Stored integers ``(..., planes)`` in the series' unit, HU for a CT: stored * slope + intercept, float32."""
        slope, intercept = (np.asarray([getattr(s, name) for s in self.slices]) for name in ("slope", "intercept"))
        return (stored * slope + intercept).astype(np.float32)

    def stored(self) -> np.ndarray:
        """Stored integers ``(columns, rows, planes)``.

        Raises:
            DicomSeriesError: if the pixels of a file do not decode.
        """
        volume, files = np.empty(self.shape, np.int32), dict[Path, np.ndarray]()
        for index, plane in enumerate(self.slices):
            if plane.path not in files:
                files = {plane.path: decode(plane.path)}  # the planes of a file follow each other, save in odd files
            pixels = files[plane.path]
            frame = pixels[plane.frame] if pixels.ndim == 3 else pixels
            if frame.shape != volume.shape[1::-1]:
                raise DicomSeriesError(f"{plane.name} must hold {volume.shape[1::-1]} pixels, got {frame.shape}.")
            volume[..., index] = frame.T
        return volume

    def values(self) -> np.ndarray:
        """Values in the series' unit, float32 ``(columns, rows, planes)``."""
        return self.to_values(self.stored())


def series_name(uid: str) -> str:
    """A name out of a SeriesInstanceUID, of which it tells nothing.

    Example:
        >>> series_name("1.2.3")
        'series_c47f5b18b8a4'
    """
    return f"series_{hashlib.sha256(uid.encode()).hexdigest()[:12]}"


def find_dicom_series(paths: Paths) -> dict[str, list[Path]]:
    """Which series there are.

    Args:
        paths: a folder, searched with all below it, or files.

    Returns:
        The files of every SeriesInstanceUID.

    Raises:
        DicomSeriesError: if a file is not DICOM or is cut off; it is named.
        FileNotFoundError: if a path does not exist.
    """
    return {uid: [path for path, _ in files] for uid, files in headers_of(paths).items()}


def read_dicom_series(paths: Paths, series_uid: str | None = None) -> DicomSeries:
    """Read the headers of one series and put its planes in order; pixels are decoded when asked for.

    Planes are sorted by their position along the normal, whatever the files' names and InstanceNumbers are. Refused
    are: several series and none chosen, a localizer inside, planes missing, twice or unevenly spaced, a gantry tilt,
    planes of different size, orientation, spacing, study or frame of reference, headers cut off or contradictory, and
    a CT without HU. A plane missing at an end cannot be known.

    Args:
        paths: a folder, searched with all below it, or files.
        series_uid: SeriesInstanceUID, needed where there are several.

    Returns:
        The series.

    Raises:
        DicomSeriesError: if it is refused; the file or plane is named.
        FileNotFoundError: if a path does not exist.

    Example:
        >>> read_dicom_series("thorax/ct", "1.2.3")  # doctest: +SKIP
        DicomSeries(slices=(...), affine=array(...))
    """
    found = headers_of(paths)
    images = {uid: files for uid, files in found.items() if any("Rows" in header for _, header in files)} or found
    if series_uid is None and len(images) > 1:
        names = ", ".join(
            f"{uid} ({files[0][1].get('Modality')}, {len(files)} files)" for uid, files in sorted(images.items())
        )
        raise DicomSeriesError(f"found {len(images)} series, choose one by its SeriesInstanceUID: {names}.")
    uid = series_uid or next(iter(images))
    if uid not in found:
        raise DicomSeriesError(f"found no series {uid!r}, only {sorted(found)}.")
    slices = [plane for path, header in found[uid] for plane in slices_of(path, header)]
    check_alike(slices)
    return _ordered(slices)


def _as_stored(value: int, header: Any) -> int:
    """A padding value as the pixels have it: some scanners write that of signed pixels as if they had no sign."""
    wraps = header.PixelRepresentation == 1 and value >= 1 << header.BitsAllocated - 1
    return value - (1 << header.BitsAllocated) if wraps else value


def headers_of(paths: Paths) -> dict[str, list[tuple[Path, Any]]]:
    """Every file with its header, by SeriesInstanceUID, as for `find_dicom_series`."""
    given: Any = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    found: dict[str, list[tuple[Path, Any]]] = {}
    for path in image_files(Path(p) for p in given):
        header = read_header(path)
        if header is not None:
            found.setdefault(str(header.SeriesInstanceUID), []).append((path, header))
    if not found:
        raise DicomSeriesError("found no DICOM image.")
    return found


def _ordered(slices: Sequence[DicomSlice]) -> DicomSeries:
    if len(slices) < 2:
        raise DicomSeriesError(f"{slices[0].name} is alone: a volume needs two planes or more.")
    row, column = slices[0].orientation[:3], slices[0].orientation[3:]
    normal = np.cross(row, column)
    ordered = sorted(slices, key=lambda plane: float(plane.position @ normal))
    positions = np.stack([plane.position for plane in ordered])
    distance = (positions - positions[0]) @ normal
    drift = positions - positions[0] - np.outer(distance, normal)
    faults = [fault for fault in (_uneven(ordered, distance), _tilted(ordered, distance, drift)) if fault]
    if faults:
        raise DicomSeriesError(" ".join(faults))
    check_one_volume(ordered)
    tell_rescaling(ordered)
    _check_tilt(ordered[0])
    affine = np.eye(4)
    affine[:3, 0] = row * ordered[0].spacing[1]
    affine[:3, 1] = column * ordered[0].spacing[0]
    affine[:3, 2] = normal * distance[-1] / (len(ordered) - 1)
    affine[:3, 3] = positions[0]
    return DicomSeries(tuple(ordered), LPS_TO_RAS @ affine)


def _uneven(ordered: Sequence[DicomSlice], distance: np.ndarray) -> str:
    """What is wrong with the distances of planes, empty where nothing is."""
    gaps = np.diff(distance)
    usual = float(np.median(gaps))
    for index, gap in enumerate(gaps):
        if gap < 1e-3 + 0.01 * usual:
            one, other = ordered[index], ordered[index + 1]
            same = f"{one.name} and {other.name} lie at the same position: {distance[index]:.3f} mm, twice"
            return f"{same}{apart(one, other)}."
    if gaps.max() > MOST_MM:
        return f"planes must lie within {MOST_MM:g} mm of each other, got {gaps.max():g} mm."
    number = np.arange(len(distance))
    off = distance - np.polyval(np.polyfit(number, distance, 1), number)
    # headers round positions, to 0.1 mm at worst
    if np.abs(off).max() <= max(0.02 * usual, min(0.06, 0.1 * usual)):
        return ""
    between = [f"between {one.name} and {other.name}" for one, other in pairwise(ordered)]
    times = gaps / gaps.min()
    if times.max() > 1.5 and np.abs(times - times.round()).max() < 0.1:
        holes = [
            f"{round(times[i]) - 1} plane(s) missing {between[i]}, {gaps[i]:.3f} mm apart"
            for i in np.flatnonzero(times > 1.5)
        ]
        return "; ".join(holes) + "."
    index = int(np.abs(gaps - usual).argmax())
    return f"uneven planes: {gaps[index]:.3f} mm {between[index]}, {usual:.3f} mm elsewhere."


def _tilted(ordered: Sequence[DicomSlice], distance: np.ndarray, drift: np.ndarray) -> str:
    """What is wrong with planes that do not lie above each other, empty where nothing is."""
    aside = np.linalg.norm(drift, axis=1)
    slack = 0.1 * ordered[0].spacing.min() + 1e-3 * distance  # headers round directions to four digits or so
    if not (aside > slack).any():
        return ""
    worst = int((aside - slack).argmax())
    tilt = np.degrees(np.arctan2(aside[worst], distance[worst]))
    return (
        f"{ordered[worst].name} lies {aside[worst]:.2f} mm beside the axis of the first plane, {ordered[0].name} "
        f"(a gantry tilt of {tilt:.1f} degrees?); resample the series to an upright grid first."
    )


def _check_tilt(plane: DicomSlice) -> None:
    """Refuse a tilt that the header names and the planes, which lie above each other, do not have."""
    with naming(plane.path, "GantryDetectorTilt"):
        tilt = float(plane.header.get("GantryDetectorTilt") or 0)
    lies = np.degrees(np.arccos(min(abs(float(np.cross(plane.orientation[:3], plane.orientation[3:])[2])), 1.0)))
    if abs(abs(tilt) - lies) > MOST_DEGREES and abs(tilt) > MOST_DEGREES:
        raise DicomSeriesError(
            f"{plane.name} has GantryDetectorTilt {tilt:g}, and its planes lie {lies:.1f} degrees off the axis of the "
            "scanner: one of them is wrong; correct the header, or leave the tilt out of it where it was resampled."
        )
