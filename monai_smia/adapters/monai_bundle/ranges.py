"""The valid range of a case's image: what its file can hold, or the window of what the network sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.transforms import ScaleIntensityRange
from torch import Tensor

from monai_smia.adapters.monai_bundle.chain import Chain, leaves
from monai_smia.adapters.monai_bundle.parts import is_dicom
from monai_smia.dicom import read_dicom_series
from monai_smia.victims.freezing import array_attribute

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def is_picture(source: Any) -> bool:
    """Whether an image is a picture of 8-bit grey levels by its name."""
    return not isinstance(source, (list, tuple)) and Path(str(source)).suffix.lower() in PICTURES


def valid_range(chain: Chain, source: Any, image: Tensor, in_scanner: bool) -> tuple[float, float] | None:
    """The range that a case's image may not leave; None where none is known.

    Args:
        chain: the bundle's.
        source: file or files of the case.
        image: as it is attacked.
        in_scanner: the image is that of the file; else what the network sees.
    """
    if in_scanner and is_dicom(source):
        return read_dicom_series(source, getattr(image, "meta", {}).get("series_uid")).range
    if in_scanner:
        return (0.0, 255.0) if is_picture(source) else None
    for transform in reversed(list(leaves(chain.compose))):
        attribute = array_attribute(transform)
        array = getattr(transform, attribute) if attribute else transform
        if isinstance(array, ScaleIntensityRange) and array.clip and chain.image_key in _keys(transform, chain):
            return None if array.b_min is None or array.b_max is None else (array.b_min, array.b_max)
    return None


def _keys(transform: Any, chain: Chain) -> Any:
    return getattr(transform, "keys", (chain.image_key,))
