"""Clean and attacked decision as DICOM SEG beside a derived series, so that a viewer lays both over it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from monai_smia.dicom import read_dicom_series
from monai_smia.dicom.files import looks_like_dicom
from monai_smia.dicom.seg_writer import NEEDED, write_segmentation
from monai_smia.victims.preprocessing import as_plain

LOGGER = logging.getLogger(__name__)
SUFFIX = "_adversarial"  # of the folder of a derived series, whose stem the files share
KINDS = ("clean", "attacked")


def write_overlays(folder: Path, clean: Any, attacked: Any, names: Sequence[str] | None, told: set[str]) -> list[Path]:
    """Write ``<stem>_decision_clean.dcm`` and ``<stem>_decision_attacked.dcm``, both of the derived series.

    Args:
        folder: of the derived series; what is no folder, or one of NIfTI files, has no overlays.
        clean: decision on the clean image, ``(1, *spatial)`` classes or ``(K, *spatial)`` channels; None where it
            cannot be shown on the image's grid.
        attacked: of the same shape, on the image as it was stored.
        names: of the structures, without the background; None for their numbers.
        told: what was said already, and is not said again.

    Returns:
        The files; none where the decision is no segmentation on the series' grid, or highdicom is not installed.
    """
    if not folder.is_dir() or not (isinstance(clean, Tensor) and isinstance(attacked, Tensor)):
        return []
    if not any(looks_like_dicom(path) for path in folder.iterdir()):
        return []
    series = read_dicom_series(folder)
    maps = [as_plain(each).cpu().numpy() for each in (clean, attacked)]
    if any(each.shape[-3:] != series.shape or each.ndim != 4 for each in maps):
        return _none(told, f"no DICOM SEG beside derived series: the decision is not on their grid {series.shape}.")
    channels = maps[0].shape[0]
    if channels > 1:
        count = channels
    else:
        maps = [each[0].astype(np.int64) for each in maps]
        count = len(names) if names else max(1, *(int(each.max()) for each in maps))
    labels = list(names) if names and len(names) == count else [f"class {number}" for number in range(1, count + 1)]
    paths = []
    for kind, decision in zip(KINDS, maps, strict=True):
        path = folder.with_name(f"{folder.name.removesuffix(SUFFIX)}_decision_{kind}.dcm")
        try:
            paths.append(write_segmentation(series, decision, labels, path, description=f"{kind} decision"))
        except ImportError:
            return _none(told, f"{NEEDED}: none is written beside derived series.")
    return paths


def _none(told: set[str], text: str) -> list[Path]:
    if text not in told:
        LOGGER.info(text)
    told.add(text)
    return []
