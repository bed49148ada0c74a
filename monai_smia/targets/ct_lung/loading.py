"""Loading a CT whose values are Hounsfield units."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import LoadImaged
from torch import Tensor

from monai_smia.victims.preprocessing import as_plain

__all__ = ["LoadHounsfieldd", "check_hounsfield"]

AIR = -200.0  # below this lies something in every CT of a chest: lung, and the air around the patient


class LoadHounsfieldd(LoadImaged):
    """MONAI's LoadImaged, which refuses a CT whose values cannot be Hounsfield units.

    A volume that was windowed or scaled to 0 to 255 loads like any other, and its lung is soft tissue to a network.

    Args:
        keys: images and labels to load.
        hounsfield_keys: those of them that are CTs.
        **options: as for LoadImaged.

    Raises:
        ValueError: in use, if a CT has no value below -200; the file is named.

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
        for key in self.hounsfield_keys:
            if key in self.keys and key in loaded:
                check_hounsfield(loaded[key], data[key])
        return loaded


def check_hounsfield(image: Tensor, source: Any) -> None:
    """Raise where a CT's values cannot be Hounsfield units.

    Args:
        image: the volume.
        source: its file, files or folder.

    Raises:
        ValueError: that names the file.
    """
    low, high = (float(v) for v in as_plain(image).aminmax())
    if low > AIR:
        first = source[0] if isinstance(source, (list, tuple)) else source
        raise ValueError(
            f"{Path(str(first)).name} must hold Hounsfield units, got values from {low:g} to {high:g}: nothing here is "
            f"below {AIR:g}, and air is -1000 HU. Was it windowed or scaled? Take the original."
        )
