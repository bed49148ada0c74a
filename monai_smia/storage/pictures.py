"""Pictures of a bundle as 8-bit files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from monai_smia.storage.png import PngStorage
from monai_smia.victims.preprocessing import as_plain


class PictureStorage:
    """`PngStorage` for pictures as a bundle loads them; MONAI's PILReader, for one, has the width first.

    Args:
        folder: where to write.
        read: the bundle's own loading, from a file to ``(C, *spatial)``.
    """

    def __init__(self, folder: str | os.PathLike[str], read: Callable[[str | Path], Tensor]) -> None:
        self.png = PngStorage(folder)
        self.read = read

    @property
    def folder(self) -> Path:
        """Where it writes."""
        return self.png.folder

    def write(
        self, image: Tensor, adversarial: Tensor, *, eps: float, source: str, stem: str, norm: str = "linf"
    ) -> Path:
        """As `PngStorage.write`.

        Raises:
            ValueError: if the image is not what its file holds, in either order of its axes.
            BelowOneUnitError: if eps is less than one grey level.
        """
        stored = as_plain(self.png.read(source)).float().cpu()
        for axes in ((0, 1, 2), (0, 2, 1)):
            clean = as_plain(image).permute(axes)
            if torch.equal(clean.float().cpu(), stored):  # false for other shapes
                attacked = as_plain(adversarial).permute(axes)
                return self.png.write(clean, attacked, eps=eps, source=source, stem=stem, norm=norm)
        raise ValueError(
            f"image {tuple(image.shape)} must hold what its RGB file {Path(source).name} {tuple(stored.shape)} holds, "
            "to be stored in its place; attack what the network sees with --attack#space network."
        )
