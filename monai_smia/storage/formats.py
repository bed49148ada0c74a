"""Adversarial images in the format of their sources."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from monai_smia.storage.base import StorageBySource
from monai_smia.storage.dicom import DicomStorage
from monai_smia.storage.limits import PICTURES
from monai_smia.storage.nifti import NiftiStorage
from monai_smia.storage.png import PngStorage


class FormatStorage(StorageBySource):
    """Writes an adversarial image as its source is: a series as one derived from it, a picture as PNG, else NIfTI.

    Args:
        folder: where to write; made if it does not exist.
        like_source: as for `NiftiStorage`; False stores NIfTI alone.
        note: for derived series, as for `DicomStorage`.
        identified: store series though their sources do not say that they are de-identified.
        compression: of the pixels of series, as for `DicomStorage`.
        width_first: images of pictures have their width before their height.

    Example:
        >>> FormatStorage("eval/volumes").of("ct/series_1.nii.gz").__class__.__name__
        'NiftiStorage'
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        like_source: bool = True,
        note: str = "",
        identified: bool = False,
        compression: str | None = None,
        width_first: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.nifti = NiftiStorage(folder, like_source=like_source)
        self.dicom = DicomStorage(folder, note=note, identified=identified, compression=compression)
        self.pictures = PngStorage(folder, transposed=width_first)

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        return {"nifti": self.nifti, "dicom": self.dicom, "pictures": self.pictures.transposed}

    def of(self, source: Any) -> NiftiStorage | DicomStorage | PngStorage:
        """The storage of a case: series are folders, or lists of files."""
        if not isinstance(source, (list, tuple)) and Path(str(source)).suffix.lower() in PICTURES:
            return self.pictures if self.nifti.like_source else self.nifti
        series = isinstance(source, (list, tuple)) or Path(str(source)).is_dir()
        return self.dicom if series and self.nifti.like_source else self.nifti

    @property
    def plain(self) -> NiftiStorage:
        """Of files that hold any image of their shape."""
        return self.nifti
