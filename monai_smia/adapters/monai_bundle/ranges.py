"""The valid range of a case's image: what its file can hold, or the window of what the network sees."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import ScaleIntensityRange
from monai.utils import get_equivalent_dtype
from torch import Tensor

from monai_smia.adapters.monai_bundle.chain import Chain, leaves
from monai_smia.adapters.monai_bundle.parts import is_dicom
from monai_smia.adapters.monai_bundle.units import range_in_units, units_of
from monai_smia.dicom import read_dicom_series
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.storage.limits import PICTURES, file_range
from monai_smia.victims.freezing import array_attribute
from monai_smia.victims.preprocessing import as_plain

LOGGER = logging.getLogger(__name__)


def is_picture(source: Any) -> bool:
    """Whether an image is a picture by its name."""
    return not isinstance(source, (list, tuple)) and Path(str(source)).suffix.lower() in PICTURES


def valid_range(chain: Chain, source: Any, image: Tensor, in_scanner: bool) -> tuple[float, float] | None:
    """The range that a case's image may not leave; None where none is known.

    Args:
        chain: the bundle's.
        source: file or files of the case.
        image: as it is attacked.
        in_scanner: the image is that of the file; else what the network sees.

    Raises:
        ValueError: if the image is that of the file, and the bundle's reader has wrapped its values.
    """
    check_reader(chain, source, in_scanner)
    if not in_scanner:
        window = window_of(chain)
        return None if window is None or window.b_min is None or window.b_max is None else (window.b_min, window.b_max)
    known = [reader_range(chain)]
    units = units_of(image)
    if isinstance(source, (list, tuple)) and not is_dicom(source) and len(source) == len(image):
        found = [_meeting([known[0], file_range(str(file))]) for file in source]
        return range_in_units(found, torch.ones(len(image)) if units is None else units, image)
    if is_dicom(source):
        known.append(read_dicom_series(source, getattr(image, "meta", {}).get("series_uid")).range)
    elif not isinstance(source, (list, tuple)):
        known.append(file_range(str(source)))
    limits = _meeting(known)
    return limits if units is None else range_in_units([limits] * len(units), units, image)


def _meeting(ranges: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    """The range that lies in all of them; None where none is limited."""
    found = [each for each in ranges if each is not None]
    return (max(low for low, _ in found), min(high for _, high in found)) if found else None


def window_of(chain: Chain, *, clipped: bool = True) -> Any:
    """The intensity window, the last of the chain, outside of which, clipped, the network sees nothing; or None."""
    for transform in reversed(list(leaves(chain.compose))):
        attribute = array_attribute(transform)
        array = getattr(transform, attribute) if attribute else transform
        if not isinstance(array, ScaleIntensityRange) or chain.image_key not in _keys(transform, chain):
            continue
        if array.clip or not clipped:
            return array
    return None


def check_window(chain: Chain, plan: Sequence[PlannedAttack], in_scanner: bool) -> None:
    """Raise where a radius is wider than all that the network sees.

    Args:
        chain: the bundle's.
        plan: its radii are in the unit of the files, or of what the network sees.
        in_scanner: which of the two.

    Raises:
        ValueError: that says how a radius in the unit of the files is given.
    """
    window = window_of(chain, clipped=False)
    ends = None if window is None else (window.a_min, window.a_max) if in_scanner else (window.b_min, window.b_max)
    if ends is None or None in ends:
        return
    for row in plan:
        try:
            row.check_range((float(ends[0]), float(ends[1])), "of what the network sees")
        except ValueError as error:
            raise ValueError(f"{error} A radius in HU or grey levels is given with --attack#eps_unit image.") from None


def reader_range(chain: Chain) -> tuple[float, float] | None:
    """What the type that a bundle's reader turns an image into can hold; None where that is any number."""
    dtype = None if not chain.loaders else chain.loaders[0]._loader.dtype
    kind = np.dtype(np.float32 if dtype is None else get_equivalent_dtype(dtype, np.ndarray))
    if kind.kind not in "iu":
        return None
    return float(np.iinfo(kind).min), float(np.iinfo(kind).max)


def check_reader(chain: Chain, source: Any, in_scanner: bool) -> None:
    """Raise where a bundle's reader turns an image into a type that does not hold its values, which wraps them.

    Raises:
        ValueError: where the image is attacked as it is read; where what the network sees is, it is said alone.
    """
    limits = reader_range(chain)
    if limits is None or chain.loader is None:
        return
    loader = copy.copy(chain.loader)
    loader._loader = copy.copy(loader._loader)
    loader._loader.dtype = np.float64
    values = as_plain(replace(chain, loader=loader, loaders=(loader,)).read(source))
    if float(values.min()) >= limits[0] and float(values.max()) <= limits[1]:
        return
    text = (
        f"the bundle's reader turns images into whole numbers from {limits[0]:g} to {limits[1]:g}, and this one holds "
        f"values from {float(values.min()):g} to {float(values.max()):g}, which are wrapped: give its LoadImaged "
        "another dtype"
    )
    if in_scanner:
        raise ValueError(f"{text}, or attack what the network sees, with --attack#space network.")
    LOGGER.warning("%s.", text)


def _keys(transform: Any, chain: Chain) -> Any:
    return getattr(transform, "keys", (chain.image_key,))
