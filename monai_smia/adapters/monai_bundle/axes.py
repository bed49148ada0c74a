"""How a reader turns the axes of a file: measured on a marked one, so that writing back is its inverse."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from PIL import Image
from torch import Tensor

from monai_smia.storage import NotStorableError
from monai_smia.victims.preprocessing import as_plain

SIZES = (5, 4, 3)


@dataclass(frozen=True)
class Axes:
    """From the axes of a file to those of the image that a reader makes of it.

    Args:
        order: the file's axis that each of the image's spatial axes is.
        flipped: axes of the image that run backwards.

    Example:
        >>> import torch
        >>> axes = Axes((1, 0), (1,))
        >>> file = torch.arange(6).reshape(1, 2, 3)
        >>> image = axes.image(file)
        >>> image.tolist(), torch.equal(axes.file(image), file)
        ([[[3, 0], [4, 1], [5, 2]]], True)
    """

    order: tuple[int, ...]
    flipped: tuple[int, ...]

    def image(self, file: Tensor) -> Tensor:
        """From the file's axes ``(C, *spatial)`` to the image's."""
        return file.permute(0, *(axis + 1 for axis in self.order)).flip([axis + 1 for axis in self.flipped])

    def file(self, image: Tensor) -> Tensor:
        """From the image's axes to the file's."""
        back = np.argsort(self.order).tolist()
        return image.flip([axis + 1 for axis in self.flipped]).permute(0, *(axis + 1 for axis in back))


def axes_of(read: Callable[[Any], Tensor], source: Any) -> Axes:
    """How a reader turns files of this kind, measured on a small one whose voxels are all different.

    Args:
        read: from a file to ``(C, *spatial)``.
        source: a NIfTI file or a picture; the marked one has its affine, its number of axes and its suffix.

    Raises:
        NotStorableError: if the reader does more than to turn axes.
    """
    path = Path(str(source))
    with tempfile.TemporaryDirectory() as folder:
        marked = Path(folder) / f"marked{''.join(path.suffixes[-2:]) if path.name.endswith('.nii.gz') else path.suffix}"
        rank, file = _write_nifti(marked, path) if ".nii" in marked.suffixes else _write_picture(marked)
        found = read(marked)
    plain = as_plain(found).double().cpu()
    for order in itertools.permutations(range(rank)):
        for count in range(rank + 1):
            for flipped in itertools.combinations(range(rank), count):
                axes = Axes(order, flipped)
                turned = axes.image(file)
                if turned.shape == plain.shape and bool((turned == plain).all()):
                    return axes
    raise NotStorableError(
        f"{path.name}: the bundle's reader does more than to turn the axes of a file, and what it does cannot be "
        "undone in writing; attack what the network sees, with --attack#space network."
    )


def _write_nifti(path: Path, like: Path) -> tuple[int, Tensor]:
    source: Any = nib.load(like)
    rank = min(len(source.shape), 3)
    channels = 1 if len(source.shape) <= 3 else 2
    values = np.arange(np.prod(SIZES[:rank]) * channels).reshape(*SIZES[:rank], *([channels] * (channels > 1)))
    nib.save(nib.Nifti1Image(values.astype(np.int16), source.affine), path)
    first = values[None] if channels == 1 else np.moveaxis(values, -1, 0)
    return rank, as_plain(MetaTensor(first.astype(np.float64)))


def _write_picture(path: Path) -> tuple[int, Tensor]:
    pixels = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3) * 4
    with Image.fromarray(pixels) as picture:
        picture.save(path, format="PNG")  # whatever its name says: without loss
    return 2, as_plain(MetaTensor(np.moveaxis(pixels, -1, 0).astype(np.float64)))
