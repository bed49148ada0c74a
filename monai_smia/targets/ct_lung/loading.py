"""Loading a CT whose values are Hounsfield units, and labels whose values are classes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import LoadImaged
from torch import Tensor

from monai_smia.victims.preprocessing import as_plain

__all__ = ["LoadHounsfieldd", "check_hounsfield", "check_label"]

AIR = -200.0  # below this lies something in every CT of a chest: lung, and the air around the patient

MOST_CLASSES = 16  # of a label; a CT that was shifted to whole numbers from 0 on has hundreds of values

ROUNDING = 1e-3  # of a whole number that a file stores with a slope, as 255 with 1 / 255


class LoadHounsfieldd(LoadImaged):
    """MONAI's LoadImaged, which refuses a CT whose values cannot be Hounsfield units and a label that is none.

    A volume that was windowed or scaled to 0 to 255 loads like any other, and its lung is soft tissue to a network. So
    does a CT in place of the label, of which a threshold would make a mask.

    Args:
        keys: images and labels to load.
        hounsfield_keys: those of them that are CTs; the others are labels.
        **options: as for LoadImaged.

    Raises:
        ValueError: in use, if a CT has no value below -200, or a label holds anything but whole numbers >= 0; the file
            is named.

    Example:
        >>> import tempfile, nibabel as nib, numpy as np
        >>> path = f"{tempfile.mkdtemp()}/windowed.nii.gz"
        >>> nib.save(nib.Nifti1Image(np.full((4, 4, 4), 255, np.int16), np.eye(4)), path)
        >>> LoadHounsfieldd("image")({"image": path})
        Traceback (most recent call last):
        ValueError: windowed.nii.gz must hold Hounsfield units, got values from 255 to 255: nothing here is below \
-200, and air is -1000 HU. Was it windowed or scaled? Take the original.
    """

    def __init__(self, keys: KeysCollection, hounsfield_keys: str | Sequence[str] = "image", **options: Any) -> None:
        super().__init__(keys, **options)
        self.hounsfield_keys = (hounsfield_keys,) if isinstance(hounsfield_keys, str) else tuple(hounsfield_keys)

    def __call__(self, data: Mapping[Hashable, Any], reader: Any = None) -> dict[Hashable, Any]:
        """The item with volumes in place of paths."""
        loaded: dict[Hashable, Any] = super().__call__(data, reader)
        for key in self.key_iterator(loaded):
            check = check_hounsfield if key in self.hounsfield_keys else check_label
            check(loaded[key], data[key])
        return loaded


def check_hounsfield(image: Tensor, source: Any) -> None:
    """Raise where a CT's values cannot be Hounsfield units, or it is more than one volume.

    Args:
        image: the volume.
        source: its file, files or folder.

    Raises:
        ValueError: that names the file.
    """
    shape = tuple(image.shape)
    if sum(size > 1 for size in shape) > 3:
        raise ValueError(f"{_name(source)} must be one volume of a CT, got shape {shape}: several channels or times.")
    low, high = (float(v) for v in as_plain(image).aminmax())
    if low > AIR:
        raise ValueError(
            f"{_name(source)} must hold Hounsfield units, got values from {low:g} to {high:g}: nothing here is "
            f"below {AIR:g}, and air is -1000 HU. Was it windowed or scaled? Take the original."
        )


def check_label(label: Tensor, source: Any) -> None:
    """Raise where a label holds anything but whole numbers from 0 on, or so many that they are no classes.

    Args:
        label: the volume; 0 is background, and 1, 1 and 2, or 255 are lung.
        source: its file, files or folder.

    Raises:
        ValueError: that names the file and the values.

    Example:
        >>> import torch
        >>> check_label(torch.tensor([0.0, 0.5]), "lung.nii.gz")
        Traceback (most recent call last):
        ValueError: label lung.nii.gz must hold whole numbers >= 0, one for each class, got 0.5. Is it the mask, and \
was it resampled with nearest neighbors?
    """
    values = as_plain(label)
    whole = values.isfinite() & (values > -ROUNDING) & ((values - values.round()).abs() < ROUNDING)  # False for NaN
    if not bool(whole.all()):
        shown = ", ".join(list(dict.fromkeys(f"{value:g}" for value in values[~whole].unique().tolist()))[:3])
        raise ValueError(
            f"label {_name(source)} must hold whole numbers >= 0, one for each class, got {shown}. Is it the mask, and "
            "was it resampled with nearest neighbors?"
        )
    classes = values.round().unique()
    if len(classes) > MOST_CLASSES:
        raise ValueError(
            f"label {_name(source)} must hold one whole number for each class, got {len(classes)} of them from "
            f"{int(classes[0])} to {int(classes[-1])}. Is it the mask, and not an image?"
        )


def _name(source: Any) -> str:
    """Name of a file, of the first of several."""
    first = source[0] if isinstance(source, (list, tuple)) else source
    return Path(str(first)).name
