"""Decisions as NIfTI, on the grid of a stored volume: for the viewer that shows the volume."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_smia.files import MARK, WriteError, replacing
from monai_smia.storage.nifti import header_of


def write_decision(
    path: str | os.PathLike[str], decision: np.ndarray, like: str | os.PathLike[str], name: str = ""
) -> Path:
    """Write a decision with the grid of a NIfTI file, read it back and compare it with the decision, voxel by voxel.

    The file is marked as the decision of an adversarial test in its header's description, and as labels in its intent.

    Args:
        path: ``.nii.gz`` to write, in the place of an earlier one.
        decision: classes ``(1, *spatial)``, 0 where nothing is; or 0/1 masks ``(K, *spatial)`` of three dimensions,
            which may overlap and become a file of four dimensions.
        like: file of which affine, voxel size and codes are taken; only read.
        name: of the intent, 15 characters.

    Raises:
        ValueError: if the decision is not on the grid, or holds other than whole numbers from 0 on.
        WriteError: if the operating system does not let it be written, or the file does not hold the decision.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> volume = os.path.join(folder, "ct.nii.gz")
        >>> nib.save(nib.Nifti1Image(np.zeros((4, 4, 2), np.int16), np.diag([2, 2, 5, 1])), volume)
        >>> found = write_decision(os.path.join(folder, "lung.nii.gz"), np.ones((1, 4, 4, 2), int), volume)
        >>> nib.load(found).get_data_dtype().name, nib.load(found).affine[2, 2].item()
        ('uint8', 5.0)
    """
    path, source = Path(path), nib.Nifti1Image.from_filename(like)
    if decision.shape[1:] != source.shape[: decision.ndim - 1] or (len(decision) > 1 and decision.ndim != 4):
        raise ValueError(
            f"decision must be (1, *spatial), or masks of three dimensions, on the grid of {Path(like).name} "
            f"{source.shape}, got {decision.shape}."
        )
    if (decision < 0).any() or (decision != np.floor(decision)).any():
        raise ValueError("decision must hold whole numbers from 0 on, got others.")
    values = decision[0] if len(decision) == 1 else np.moveaxis(decision, 0, -1)
    values = values.astype(np.uint8 if values.max(initial=0) < 256 else np.int32)
    header: Any = header_of(source)
    header.set_data_dtype(values.dtype)
    image: Any = nib.Nifti1Image(values, source.affine, header)
    image.header["descrip"] = MARK
    image.header.set_intent("label", name=name)
    with replacing(path) as temporary:
        nib.save(image, temporary)
        read = nib.Nifti1Image.from_filename(temporary)
        if not np.array_equal(np.asarray(read.dataobj), values) or not np.array_equal(read.affine, source.affine):
            raise WriteError(errno.EIO, f"{path.name} does not hold the decision")
    return path
