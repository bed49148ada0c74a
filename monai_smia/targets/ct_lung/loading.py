"""Loading a CT whose values are Hounsfield units, and labels whose values are classes."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import LoadImaged
from monai.utils import ImageMetaKey, MetaKeys
from torch import Tensor

from monai_smia.dicom import DicomSeriesReader, looks_like_dicom, read_dicom_series
from monai_smia.dicom.segmentation import read_dicom_segmentation
from monai_smia.dicom.series import series_name
from monai_smia.targets.ct_lung.series import required_segments
from monai_smia.victims.preprocessing import as_plain

__all__ = ["LoadHounsfieldd", "check_hounsfield", "check_label"]

AIR = -200.0  # below this lies something in every CT of a chest: lung, and the air around the patient

MOST_CLASSES = 16  # of a label; a CT that was shifted to whole numbers from 0 on has hundreds of values

ROUNDING = 1e-3  # of a whole number that a file stores with a slope, as 255 with 1 / 255


class LoadHounsfieldd(LoadImaged):
    """MONAI's LoadImaged, which refuses a CT whose values cannot be Hounsfield units and a label that is none.

    A folder or a list of files is a DICOM series, read by `monai_smia.dicom.DicomSeriesReader`; its label may be a
    DICOM segmentation.

    A volume that was windowed or scaled to 0 to 255 loads like any other, and its lung is soft tissue to a network. So
    does a CT in place of the label, of which a threshold would make a mask.

    Args:
        keys: images and labels to load.
        hounsfield_keys: those of them that are CTs; the others are labels.
        structure: which segments of a segmentation are the label, ``"lung"`` or ``"infection"``.
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

    def __init__(
        self,
        keys: KeysCollection,
        hounsfield_keys: str | Sequence[str] = "image",
        structure: str = "lung",
        **options: Any,
    ) -> None:
        super().__init__(keys, **options)
        self.hounsfield_keys = (hounsfield_keys,) if isinstance(hounsfield_keys, str) else tuple(hounsfield_keys)
        self.structure = structure
        if options.get("reader") is None:
            self._loader.register(DicomSeriesReader())  # the last one is asked first, and leaves other files alone

    def __call__(self, data: Mapping[Hashable, Any], reader: Any = None) -> dict[Hashable, Any]:
        """The item with volumes in place of paths."""
        keys = list(self.key_iterator(dict(data)))
        masks = [key for key in keys if key not in self.hounsfield_keys and _is_dicom_file(data[key])]
        others = copy.copy(self)
        others.allow_missing_keys = True
        rest = {key: value for key, value in data.items() if key not in masks}
        loaded: dict[Hashable, Any] = super(LoadHounsfieldd, others).__call__(rest, reader)
        for key in keys:  # of a series of several files, the first one's name is nobody's
            if isinstance(data[key], (list, tuple)) and "series_uid" in (meta := loaded[key].meta):
                meta[str(ImageMetaKey.FILENAME_OR_OBJ)] = str(
                    Path(data[key][0]).parent / series_name(meta["series_uid"])
                )
        for key in masks:
            loaded[key] = self._mask(data[key], next(data[k] for k in keys if k in self.hounsfield_keys))
        for key in keys:
            check = check_hounsfield if key in self.hounsfield_keys else check_label
            check(loaded[key], data[key])
        return loaded

    def _mask(self, file: Any, source: Any) -> MetaTensor:
        """The label that a DICOM segmentation is, on the grid of the series that it is of."""
        segmentation, series = read_dicom_segmentation(Path(file)), read_dicom_series(source)
        if segmentation.series_uid != series.uid:
            raise ValueError(f"label {_name(file)} is a segmentation of another series than its image.")
        mask = segmentation.mask(series, required_segments(segmentation, self.structure))
        meta = {str(MetaKeys.ORIGINAL_CHANNEL_DIM): float("nan"), str(MetaKeys.ORIGINAL_AFFINE): series.affine.copy()}
        return MetaTensor(torch.from_numpy(mask).float(), affine=torch.from_numpy(series.affine), meta=meta)


def _is_dicom_file(source: Any) -> bool:
    return isinstance(source, (str, Path)) and Path(source).is_file() and looks_like_dicom(Path(source))


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
