"""Which values a file can hold, by its header."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
NIFTI = (".nii", ".nii.gz")
DEEPER = {"1": 1.0, "I;16": 65535.0, "I;16B": 65535.0, "I;16L": 65535.0}  # modes of pictures that have not 8 bits
UNBOUNDED = ("I", "F")  # 32 bits


def file_range(path: str | os.PathLike[str]) -> tuple[float, float] | None:
    """Lowest and highest value that a NIfTI file of integers, or a picture, can hold.

    Args:
        path: the file.

    Returns:
        The ends in the image's unit; None where that is any number, or the format is another one.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "ct.nii.gz"
        >>> nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), path)
        >>> file_range(path)
        (-32768.0, 32767.0)
    """
    path = Path(path)
    if path.suffix.lower() in PICTURES:
        with Image.open(path) as picture:
            return None if picture.mode in UNBOUNDED else (0.0, DEEPER.get(picture.mode, 255.0))
    if not path.name.endswith(NIFTI):
        return None
    image: Any = nib.load(path)
    if image.get_data_dtype().kind not in "iu":
        return None
    limits, proxy = np.iinfo(image.get_data_dtype()), image.dataobj
    ends = [float(limit * proxy.slope + proxy.inter) for limit in (limits.min, limits.max)]
    return min(ends), max(ends)
