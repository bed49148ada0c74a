"""What a product is asked: an image in whole stored units, as a file or a derived series of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_smia.checks import check_switch
from monai_smia.dicom import DicomSeries, looks_like_dicom, read_dicom_series, stored_range, write_dicom_series
from monai_smia.files import MARK
from monai_smia.storage import BelowOneUnitError
from monai_smia.storage.base import add_whole_units

ROUNDING = 1e-6  # of float32, by which a perturbation misses its radius
NIFTI = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Query:
    """One image that a product is asked about.

    Args:
        path: a NIfTI file, or the folder of a DICOM series.
        shape: of its voxels, in the axes of the image.
        affine: from voxels to millimeters, RAS.
        series: of a DICOM query, with the UIDs that an answer has to refer to; None of a NIfTI file.
    """

    path: Path
    shape: tuple[int, ...]
    affine: np.ndarray
    series: DicomSeries | None = None


class Source:
    """The file or series of a case, from which queries are made: its stored values and grid.

    Args:
        source: a NIfTI file, the folder of a DICOM series, or its files.
        identified: derive from DICOM series that do not say that they are de-identified.

    Raises:
        ValueError: if it is neither.
        DicomSeriesError: if the series is refused, see `read_dicom_series`.
    """

    def __init__(self, source: Any, *, identified: bool = False) -> None:
        check_switch("identified", identified)
        self.identified = identified
        self.file: Any = None
        self.series: DicomSeries | None = None
        first = Path(str(source[0] if isinstance(source, (list, tuple)) else source))
        if first.name.endswith(NIFTI) and first.is_file():
            self.file = nib.Nifti1Image.from_filename(first)
            self.slope, self.intercept = float(self.file.dataobj.slope), float(self.file.dataobj.inter)
            self.kind, self.affine = self.file.get_data_dtype(), self.file.affine
            whole = self.kind.kind in "iu"
            self.before = np.asarray(self.file.dataobj.get_unscaled() if whole else self.file.dataobj)
        elif first.is_dir() or looks_like_dicom(first):
            series = self.series = read_dicom_series(source)
            self.before, self.affine, self.kind = series.stored(), series.affine, np.dtype(np.int32)
        else:
            raise ValueError(f"{first.name} must be a NIfTI file or a DICOM series, to be asked about.")

    def values(self) -> np.ndarray:
        """Values in the image's unit, float32, as a pipeline reads them."""
        if self.series is not None:
            return self.series.to_values(self.before)
        return np.asarray(self.file.dataobj, dtype=np.float32)

    @property
    def unit(self) -> float | None:
        """The largest step between two stored values, in the image's unit; None of floating-point files."""
        if self.series is not None:
            return max(abs(plane.slope) for plane in self.series.slices)
        return abs(self.slope) if self.kind.kind in "iu" else None

    def check_radii(self, radii: Sequence[float]) -> None:
        """Raise where an attack could change nothing, so that its figure would be that of the clean image.

        Args:
            radii: in the image's unit; 0 is none.

        Raises:
            ValueError: with the smallest radius that works.
        """
        wrong = [radius for radius in radii if self.unit is not None and 0 < radius * (1 + ROUNDING) < self.unit]
        if wrong:
            raise ValueError(
                f"eps must be at least one stored unit, {self.unit:g}, or nothing is asked; got {wrong[0]:g}."
            )

    def values_of(self, stored: np.ndarray) -> np.ndarray:
        """Stored values, as `stored` gives them, in the image's unit, float32."""
        if self.series is not None:
            return self.series.to_values(stored)
        if self.kind.kind in "iu":
            return (stored * self.slope + self.intercept).astype(np.float32)
        return stored.astype(np.float32)

    def stored(self, delta: np.ndarray) -> np.ndarray:
        """What is asked of a perturbation in the image's unit: the stored values, changed by whole units.

        Args:
            delta: of the shape of the stored values.
        """
        if not delta.any():
            return self.before
        most = float(np.abs(delta).max()) * (1 + ROUNDING)
        try:
            if self.series is not None:
                return self._of_planes(self.series, delta, most)
            if self.kind.kind in "iu":
                limits = np.iinfo(self.kind)
                bounds: dict[str, Any] = {"eps": most, "unit": self.slope, "limits": (limits.min, limits.max)}
                return add_whole_units(self.before, delta, slack=2.0**-23, **bounds).astype(self.kind)
        except BelowOneUnitError:
            return self.before
        return (self.before + delta).astype(self.kind)

    @staticmethod
    def _of_planes(series: DicomSeries, delta: np.ndarray, most: float) -> np.ndarray:
        before, limits = series.stored(), stored_range(series.slices[0].header)
        planes = [
            add_whole_units(before[..., i], delta[..., i], eps=most, unit=plane.slope, limits=limits)
            for i, plane in enumerate(series.slices)
        ]
        after = np.stack(planes, axis=-1)
        if series.padding is not None:  # padding stays, and nothing becomes it
            low, high = series.padding
            after = np.where(before < low, np.minimum(after, low - 1), np.maximum(after, high + 1))
            after = np.where((before >= low) & (before <= high), before, after)
        return after.astype(np.int32)

    def write(self, stored: np.ndarray, folder: Path, what: str) -> Query:
        """Write a query: a marked file or derived series with nothing of the source's header but its grid.

        Args:
            stored: as `stored` gives it.
            folder: to write into.
            what: for DerivationDescription.
        """
        if self.series is not None:
            path = write_dicom_series(
                self.series, stored, folder / "query", description=what, identified=self.identified
            )
            return Query(path, stored.shape, self.affine, read_dicom_series(path))
        volume = nib.Nifti1Image(stored, self.affine)
        if self.kind.kind in "iu":
            volume.header.set_slope_inter(self.slope, self.intercept)
        volume.header["descrip"] = MARK
        path = folder / "query_0000.nii.gz"
        nib.save(volume, path)
        return Query(path, stored.shape, self.affine)

    def named(self, path: Path) -> Query:
        """A file or series that is written already, such as a stored adversarial image."""
        if self.series is not None:
            series = read_dicom_series(path)
            return Query(path, series.shape, series.affine, series)
        return Query(path, self.before.shape, self.affine)

    def sha256(self, stored: np.ndarray) -> str:
        """A hash of what is asked: values, type and grid."""
        grid = np.round(np.asarray(self.affine, np.float64), 6)
        parts = (np.ascontiguousarray(stored), grid, np.asarray(stored.shape))
        digest = hashlib.sha256(f"{stored.dtype} {'series' if self.series is not None else 'file'}".encode())
        for part in parts:
            digest.update(part.tobytes())
        return digest.hexdigest()
