"""Adversarial photographs as 8-bit files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from monai_smia.files import MARK, replacing
from monai_smia.storage.base import FolderStorage, add_whole_units, check_grid
from monai_smia.storage.whole import check_whole
from monai_smia.transforms.photographs import LoadPhotograph
from monai_smia.victims.preprocessing import as_plain


class PngStorage(FolderStorage):
    """Writes an adversarial photograph and its perturbation as 8-bit RGB PNG, and reads it back.

    Pixels change by whole grey levels, ``stored + clip(rint(eta / level), -floor(eps / level), floor(eps / level))``,
    so that eps holds exactly and rounding is the only loss. Files are marked as adversarial in a text chunk, and
    complete or not there.

    Args:
        folder: where to write; made if it does not exist.
        level: one grey level in the image's unit: 1 for images from 0 to 255, 1/255 for images in [0, 1].
        transposed: images have their width first, ``(3, W, H)``, as MONAI's LoadImage gives pictures.

    Raises:
        ValueError: if `level` is not positive.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> source = os.path.join(folder, "eye.png")
        >>> Image.new("RGB", (32, 32), (200, 90, 30)).save(source)
        >>> storage = PngStorage(folder)
        >>> image = storage.read(source)
        >>> path = storage.write(image, image + 1.7, eps=2.0, source=source, stem="eye_bim")
        >>> storage.read(path)[:, 0, 0].tolist(), Image.open(path).info["Comment"]
        ([202.0, 92.0, 32.0], 'ADVERSARIAL TEST - NOT FOR CLINICAL USE')
    """

    suffix = ".png"

    def __init__(self, folder: str | os.PathLike[str], *, level: float = 1.0, transposed: bool = False) -> None:
        if not level > 0:
            raise ValueError(f"level must be a number > 0, got {level}.")
        super().__init__(folder)
        self.level = level
        self.transposed = transposed
        self._load = LoadPhotograph(min_size=1)

    def read(self, path: str | os.PathLike[str]) -> Tensor:
        """The photograph ``(3, H, W)`` in the image's unit.

        Raises:
            DamagedFileError: if a checksum of the file says that it is damaged.
        """
        check_whole(path)
        image = self._upright(self._load(path))
        return image if self.level == 1 else image / (1 / self.level)  # as loaders divide by 255

    def _encode(
        self, image: Tensor, adversarial: Tensor, *, eps: float, source: str, norm: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The pixels of the photograph, and 128 plus the change in grey levels."""
        clean, attacked = (self._upright(as_plain(t)).cpu().double().numpy() for t in (image, adversarial))
        raw = as_plain(self._load(source)).numpy().astype(np.int64)
        mend = "; photographs that were preprocessed before the attack cannot be stored in its place."
        check_grid(clean.shape, source, raw.shape, mend)
        stored = add_whole_units(raw, attacked - clean, eps=eps, unit=self.level, limits=(0, 255), norm=norm)
        return stored, np.clip(stored - raw + 128, 0, 255)

    def _save(self, content: np.ndarray, path: Path) -> None:
        note = PngInfo()
        note.add_text("Comment", MARK)
        picture = Image.fromarray(content.transpose(1, 2, 0).astype(np.uint8))
        with replacing(path) as temporary:  # noise does not compress: no time is spent on it
            picture.save(temporary, format="png", pnginfo=note, compress_level=1)

    def _upright(self, image: Tensor) -> Tensor:
        return image.transpose(1, 2) if self.transposed else image
