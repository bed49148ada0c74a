"""Adversarial CTs as DICOM series."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirst, LoadImage
from torch import Tensor

from monai_smia.checks import check_switch
from monai_smia.dicom.compressed import check_compression
from monai_smia.dicom.files import stored_range
from monai_smia.dicom.reader import DicomSeriesReader
from monai_smia.dicom.series import DicomSeries, Paths, read_dicom_series
from monai_smia.dicom.writer import write_dicom_series
from monai_smia.files import remove
from monai_smia.storage.base import add_whole_units
from monai_smia.storage.l2 import within_l2
from monai_smia.victims.preprocessing import as_plain


class DicomStorage:
    """Writes an adversarial CT as a series derived from its source, and reads it back.

    Voxels change by whole stored units, so that eps holds exactly and rounding is the only loss; they stay within the
    bits that are stored, padding stays padding, and nothing becomes padding. How the series is marked, and what becomes
    of study and patient: `write_dicom_series`.

    Args:
        folder: where to write; made if it does not exist.
        note: more for DerivationDescription, such as a hash of the attacked model; no patient's name.
        same_study: stay in the study and with the patient of the source.
        identified: allow sources that do not say that they are de-identified.
        compression: of the pixels, without loss: ``"jpegls"`` or ``"rle"``; None for none.

    Raises:
        ValueError: if `same_study` or `identified` is no bool, or `compression` is unknown.

    Example:
        >>> storage = DicomStorage("eval/volumes", note="model 3f2a")
        >>> path = storage.write(image, adversarial, eps=20.0, source="ct", stem="case_pgd")  # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        note: str = "",
        same_study: bool = False,
        identified: bool = False,
        compression: str | None = None,
    ) -> None:
        check_switch("same_study", same_study)
        check_switch("identified", identified)
        self.folder = Path(folder)
        self.note = note
        self.same_study = same_study
        self.identified = identified
        self.compression = check_compression(compression)
        self._read = Compose([LoadImage(reader=DicomSeriesReader(), image_only=True), EnsureChannelFirst()])

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records: not where they are written, or what lies there."""
        told = {name: value for name, value in vars(self).items() if name not in ("folder", "compression")}
        return told if self.compression is None else {**told, "compression": self.compression}

    def write(
        self, image: Tensor, adversarial: Tensor, *, eps: float, source: Paths, stem: str, norm: str = "linf"
    ) -> Path:
        """Write the folder ``<stem>_adversarial``, in the place of one of an earlier run.

        Args:
            image: clean image ``(1, columns, rows, planes)``.
            adversarial: of the same shape.
            eps: radius in HU.
            source: folder or files of the clean series, the one that the image's metadata name; only read.
            stem: beginning of the folder's name; DerivationDescription quotes it.
            norm: that eps is a radius of, ``"linf"`` or ``"l2"``.

        Returns:
            The folder.

        Raises:
            ValueError: if the image is not on the grid of its source, or the source cannot be derived from
                (`write_dicom_series`).
            BelowOneUnitError: if eps is less than one stored unit.
        """
        series = read_dicom_series(source, image.meta.get("series_uid") if isinstance(image, MetaTensor) else None)
        affine = image.affine.cpu().numpy() if isinstance(image, MetaTensor) else series.affine
        if tuple(image.shape) != (1, *series.shape) or not np.allclose(affine, series.affine, atol=1e-3):
            raise ValueError(
                f"image {tuple(image.shape)} must be on the grid of its series, {(1, *series.shape)} with the affine "
                f"{series.affine.tolist()}: load it with DicomSeriesReader and attack it before preprocessing."
            )
        delta = (as_plain(adversarial)[0] - as_plain(image)[0]).cpu().numpy()
        stored, change = self._stored(series, delta, eps, norm)
        description = (
            f"{stem}: changed by an adversarial attack by at most {eps:g} HU{' (L2 norm)' if norm == 'l2' else ''}, "
            f"{change} stored units. {self.note}"
        )
        folder = self.folder / f"{stem}_adversarial"
        remove(folder)  # of an evaluation that is run again
        return write_dicom_series(
            series,
            stored,
            folder,
            description=description,
            same_study=self.same_study,
            identified=self.identified,
            compression=self.compression,
        )

    def read(self, path: str | os.PathLike[str]) -> MetaTensor:
        """The volume ``(1, columns, rows, planes)`` in HU, as a pipeline reads it."""
        return self._read(path)

    @staticmethod
    def _stored(series: DicomSeries, delta: np.ndarray, eps: float, norm: str) -> tuple[np.ndarray, int]:
        """New stored values, and by how many units they differ at most."""
        before = series.stored().astype(np.int64)
        limits = stored_range(series.slices[0].header)
        after = np.stack(
            [
                add_whole_units(before[..., i], delta[..., i], eps=eps, unit=plane.slope, limits=limits)
                for i, plane in enumerate(series.slices)
            ],
            axis=-1,
        )
        if series.padding is not None:
            low, high = series.padding
            # stop in front of the padding, which lies above some values and below others
            after = np.where(before < low, np.minimum(after, low - 1), after)
            after = np.where(before > high, np.maximum(after, high + 1), after)
            after = np.where((before >= low) & (before <= high), before, after)
        if norm == "l2":  # of all planes together
            slopes = np.array([plane.slope for plane in series.slices])
            after = before + within_l2(after - before, delta, slopes, eps)
        return after, int(np.abs(after - before).max())


def stored_units(path: Paths, source: Paths) -> np.ndarray:
    """Stored integers of a written series minus those of its source ``(columns, rows, planes)``, from the files."""
    return read_dicom_series(path).stored() - read_dicom_series(source).stored()
