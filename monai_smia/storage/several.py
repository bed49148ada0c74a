"""Images of several files, one or more channels each, written as several files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from torch import Tensor

from monai_smia.storage.base import BelowOneUnitError, NotStorableError
from monai_smia.storage.nifti import NiftiStorage

ANY = 1e9  # a radius within which nothing changes where nothing is to


def stored_names(source: Sequence[str]) -> list[str]:
    """Names of the files of an adversarial image: those of its sources, numbered where two are called alike.

    Example:
        >>> stored_names(["a/t1.nii.gz", "a/flair.nii.gz"]), stored_names(["t1/case.nii", "t2/case.nii"])
        (['t1.nii.gz', 'flair.nii.gz'], ['0000_case.nii.gz', '0001_case.nii.gz'])
    """
    names = [re.sub(r"\.nii$", ".nii.gz", Path(str(file)).name) for file in source]
    alike = len(set(names)) < len(names)
    return [f"{number:04d}_{name}" for number, name in enumerate(names)] if alike else names


def write_several(
    storage: NiftiStorage,
    image: Tensor,
    adversarial: Tensor,
    eps: float | Sequence[float],
    *,
    source: Sequence[Any],
    stem: str,
    norm: str = "linf",
) -> Path:
    """Write an adversarial image into a folder ``<stem>_adversarial``, and its perturbation beside, file by file.

    A file that cannot hold its radius, less than one of its units, is written as it was.

    Args:
        storage: of NIfTI, on the grid of the sources.
        image, adversarial: ``(C, *spatial)`` with the axes of the files and in their units, all channels in a row.
        eps: radius in the unit of the files: one, or one per channel.
        source: the files, in the order of the channels.
        stem: beginning of the folders' names.
        norm: ``"linf"``.

    Raises:
        NotStorableError: if the norm is another, or the files do not hold the image's channels.
        BelowOneUnitError: if no file can hold its radius.
    """
    if norm != "linf":
        raise NotStorableError(f"an image of {len(source)} files is stored within a radius of L-inf, not {norm}.")
    counts = [_channels(str(file), image.ndim - 1) for file in source]
    if sum(counts) != len(image):
        raise NotStorableError(f"the files hold {sum(counts)} channels, and the image has {len(image)}.")
    radii = [float(eps)] * len(image) if isinstance(eps, (int, float)) else list(eps)
    below: list[BelowOneUnitError] = []
    start = 0
    for name, file, count in zip(stored_names(source), source, counts, strict=True):
        own = slice(start, start + count)
        start += count
        names = f"{stem}_adversarial/{name}", f"{stem}_perturbation/{name}"
        ball: Any = radii[own] if len(set(radii[own])) > 1 else radii[own][0]
        try:
            storage.write_as(*names, image[own], adversarial[own], eps=ball, source=str(file))
        except BelowOneUnitError as error:
            below.append(error)
            storage.write_as(*names, image[own], image[own], eps=ANY, source=str(file))
    if len(below) == len(source):
        raise below[0]
    return storage.folder / f"{stem}_adversarial"


def _channels(file: str, rank: int) -> int:
    """How many channels a NIfTI file holds, by its header."""
    image: Any = nib.load(file)
    return int(np.prod(image.shape[rank:]))
