"""Adversarial photographs and frames in the format of their sources: DICOM as DICOM, else PNG."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from torch import Tensor

from monai_smia.checks import check_switch
from monai_smia.dicom.files import looks_like_dicom
from monai_smia.dicom.picture_loading import FRAME, load_dicom_picture
from monai_smia.dicom.picture_writer import write_dicom_picture
from monai_smia.dicom.pictures import read_dicom_picture
from monai_smia.storage.base import StorageBySource, add_whole_units, check_grid
from monai_smia.storage.png import PngStorage
from monai_smia.victims.preprocessing import as_plain


class DicomPictureStorage:
    """Writes an adversarial picture as a DICOM picture derived from its source, and reads it back.

    Pixels change by whole grey levels of RGB, in which colors are stored whatever the source has them in, so that eps
    holds exactly and rounding is the only loss. How it is marked, and what becomes of the patient:
    `monai_smia.dicom.write_dicom_picture`.

    Args:
        folder: where to write; made if it does not exist.
        level: one grey level in the image's unit: 1 for images from 0 to 255, 1/255 for images in [0, 1].
        transposed: images have their width first, ``(3, W, H)``, as MONAI's LoadImage gives pictures.
        note: more for DerivationDescription, such as a hash of the attacked model; no patient's name.
        identified: allow sources that do not say that they are de-identified.

    Raises:
        ValueError: if `level` is not positive, or `identified` is no bool.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        level: float = 1.0,
        transposed: bool = False,
        note: str = "",
        identified: bool = False,
    ) -> None:
        if not level > 0:
            raise ValueError(f"level must be a number > 0, got {level}.")
        check_switch("identified", identified)
        self.folder = Path(folder)
        self.level, self.transposed, self.note, self.identified = level, transposed, note, identified

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records: not where they are written, or what lies there."""
        return {name: value for name, value in vars(self).items() if name != "folder"}

    def write(
        self, image: Tensor, adversarial: Tensor, *, eps: float, source: Any, stem: str, norm: str = "linf"
    ) -> Path:
        """Write ``<stem>_adversarial.dcm``, in the place of one of an earlier run.

        Args:
            image: clean picture ``(3, H, W)``; its metadata say which frame it is of a file that has several.
            adversarial: of the same shape.
            eps: radius in the image's unit.
            source: file of the clean picture; only read.
            stem: beginning of the file's name; DerivationDescription quotes it.
            norm: that eps is a radius of, ``"linf"`` or ``"l2"``.

        Raises:
            ValueError: if the image is not on the grid of its source, or the source cannot be derived from.
            BelowOneUnitError: if eps is less than one grey level.
        """
        picture = read_dicom_picture(source, image.meta.get(FRAME) if isinstance(image, MetaTensor) else None)
        clean, attacked = (self._upright(as_plain(t)).cpu().double().numpy() for t in (image, adversarial))
        raw = picture.pixels.transpose(2, 0, 1).astype(np.int64)
        mend = "; pictures that were preprocessed before the attack cannot be stored in its place."
        check_grid(clean.shape, picture.path, raw.shape, mend)
        stored = add_whole_units(raw, attacked - clean, eps=eps, unit=self.level, limits=(0, 255), norm=norm)
        levels = int(np.abs(stored - raw).max())
        description = (
            f"{stem}: changed by an adversarial attack by at most {eps / self.level:g} grey levels"
            f"{' (L2 norm)' if norm == 'l2' else ''}, {levels} stored. {self.note}"
        )
        return write_dicom_picture(
            picture,
            stored.transpose(1, 2, 0).astype(np.uint8),
            self.folder / f"{stem}_adversarial.dcm",
            description=description,
            identified=self.identified,
        )

    def read(self, path: str | os.PathLike[str]) -> Tensor:
        """The picture ``(3, H, W)`` in the image's unit, as the pipeline reads it."""
        image = self._upright(load_dicom_picture(path))
        return image if self.level == 1 else image / (1 / self.level)  # as loaders divide by 255

    def _upright(self, image: Tensor) -> Tensor:
        return image.transpose(1, 2) if self.transposed else image


class PhotographStorage(StorageBySource):
    """Writes an adversarial picture as its source is: DICOM as a picture derived from it, else PNG.

    Args:
        folder: where to write; made if it does not exist.
        level, transposed: as for `PngStorage`.
        note, identified: as for `DicomPictureStorage`.

    Example:
        >>> PhotographStorage("eval/photographs").of("eye.png").__class__.__name__
        'PngStorage'
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        level: float = 1.0,
        transposed: bool = False,
        note: str = "",
        identified: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.png = PngStorage(folder, level=level, transposed=transposed)
        self.dicom = DicomPictureStorage(folder, level=level, transposed=transposed, note=note, identified=identified)

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        return {"png": self.png, "dicom": self.dicom}

    def of(self, source: Any) -> PngStorage | DicomPictureStorage:
        """The storage of a case."""
        return self.dicom if looks_like_dicom(Path(str(source))) else self.png

    @property
    def plain(self) -> PngStorage:
        """Of files that hold any image of their shape."""
        return self.png
