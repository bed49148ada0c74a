"""The DICOM series reader where MONAI expects a reader."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.image_reader import ImageReader
from monai.utils import MetaKeys, SpaceKeys
from torch import Tensor

from monai_smia.dicom.files import looks_like_dicom
from monai_smia.dicom.series import DicomSeries, Paths, read_dicom_series


def scanned_voxels(image: MetaTensor, source: Paths) -> Tensor:
    """True where a series was scanned, False where it holds padding: the mask of an attack on it.

    Args:
        image: as any reader loads it, in the series' unit, not preprocessed ``(C, *spatial)``.
        source: folder or files of the series; of several, the one that the image's metadata name.

    Returns:
        A boolean tensor of the image's shape.

    Example:
        >>> mask = scanned_voxels(image, "ct")  # doctest: +SKIP
        >>> attack(victim, image[None], label, mask=mask[None])  # doctest: +SKIP
    """
    series, plain = read_dicom_series(source, image.meta.get("series_uid")), image.as_tensor()
    if series.padding is None:
        return torch.ones_like(plain, dtype=torch.bool)
    least, most = _padding(series, series.padding)
    return (plain < least) | (plain > most)


def _padding(series: DicomSeries, bounds: tuple[int, int]) -> list[float]:
    """Lowest and highest padding value in the series' unit."""
    least, most = (series.to_values(np.full(len(series.slices), bound)) for bound in bounds)
    return [float(least.min()), float(most.max())]


class DicomSeriesReader(ImageReader):
    """Reads one DICOM series, a folder or a list of files, for LoadImage and LoadImaged.

    Values are in HU for a CT, axes ``(column, row, plane)`` and the affine in RAS: what ITKReader gives for a series
    without faults. A series with faults is refused and the fault named (`read_dicom_series`), where MONAI's readers
    leave planes out, mix series or take a wrong spacing. The metadata hold ``series_uid``, ``source_uids`` (the
    SOPInstanceUID of every plane, as they were read, whatever transforms do later), ``range`` (lowest and highest value
    that can be stored) and ``padding`` (lowest and highest padding value, if there is one).

    Args:
        series_uid: SeriesInstanceUID, needed where a folder holds several.

    Example:
        >>> from monai.transforms import LoadImage
        >>> load = LoadImage(reader=DicomSeriesReader())
        >>> load = LoadImage(reader="monai_smia.data.DicomSeriesReader")  # in a bundle's config
    """

    def __init__(self, series_uid: str | None = None) -> None:
        super().__init__()
        self.series_uid = series_uid

    def verify_suffix(self, filename: Paths) -> bool:
        """Whether these are DICOM by their looks: folders, and files that are named or begin as such."""
        names = [filename] if isinstance(filename, (str, os.PathLike)) else filename
        return all(Path(name).is_dir() or looks_like_dicom(Path(name)) for name in names)

    def read(self, data: Paths, **kwargs: Any) -> Callable[[], DicomSeries]:
        """A reader of these files, which `get_data` calls: where `read` itself raises, LoadImage tries another reader.

        Args:
            data: a folder, or the files of a series.
            **kwargs: `series_uid` for this call.

        Raises:
            ValueError: if these are other files than DICOM, which LoadImage may have another reader for.
        """
        if not self.verify_suffix(data):
            raise ValueError("data must be a folder or the files of a DICOM series.")
        return partial(read_dicom_series, data, kwargs.get("series_uid", self.series_uid))

    def get_data(self, img: Callable[[], DicomSeries]) -> tuple[np.ndarray, dict[str, Any]]:
        """Values ``(columns, rows, planes)`` and metadata; `DicomSeriesError` if the series is refused."""
        series = img()
        meta = {
            MetaKeys.ORIGINAL_AFFINE: series.affine.copy(),
            MetaKeys.AFFINE: series.affine.copy(),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.SPATIAL_SHAPE: np.asarray(series.shape),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
            "series_uid": series.uid,
            "source_uids": [str(plane.header.SOPInstanceUID) for plane in series.slices],
            "range": list(series.range),
        }
        if series.padding is not None:
            meta["padding"] = _padding(series, series.padding)
        return series.values(), {str(key): value for key, value in meta.items()}
