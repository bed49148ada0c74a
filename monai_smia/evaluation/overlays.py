"""Clean and attacked decision beside a stored volume, in its format: viewers lay both over it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from torch import Tensor

from monai_smia.dicom import read_dicom_series
from monai_smia.dicom.files import looks_like_dicom
from monai_smia.dicom.seg_writer import NEEDED, write_segmentation
from monai_smia.storage.decisions import write_decision
from monai_smia.victims.preprocessing import as_plain

LOGGER = logging.getLogger(__name__)
ENDS = ("_adversarial.nii.gz", "_adversarial")  # of what was stored, whose stem the files share
KINDS = ("clean", "attacked")


def write_overlays(
    stored: Path,
    clean: Any,
    attacked: Any,
    names: Sequence[str] | None,
    told: set[str],
    *,
    storage: Any = None,
    source: Any = None,
) -> list[Path]:
    """Write ``<stem>_decision_clean`` and ``<stem>_decision_attacked``, both on the grid of what was stored.

    Beside a derived series they are DICOM SEG (``.dcm``), beside NIfTI they are NIfTI (``.nii.gz``).

    Args:
        stored: derived series, or NIfTI file or folder of such; what is something else has no overlays.
        clean: decision on the clean image, ``(1, *spatial)`` classes or ``(K, *spatial)`` channels; None where it
            cannot be shown on the image's grid.
        attacked: of the same shape, on the image as it was stored.
        names: of the structures, without the background; None for their numbers.
        told: what was said already, and is not said again.
        storage: that has stored it; with ``in_file_axes(image, source)`` where images have other axes than files.
        source: file (or files) of the clean image.

    Returns:
        The files; none where the decision is no segmentation on the grid, or highdicom is needed and not installed.
    """
    if not stored.exists() or not (isinstance(clean, Tensor) and isinstance(attacked, Tensor)) or clean.ndim < 3:
        return []
    files = sorted(stored.iterdir()) if stored.is_dir() else [stored]
    stem = next((stored.name.removesuffix(end) for end in ENDS if stored.name.endswith(end)), stored.name)
    if files[0].name.endswith(".nii.gz"):
        spatial: Any = nib.load(files[0])
        if clean.ndim - 1 != min(spatial.ndim, 3):  # numbers, such as landmarks of every slice
            return []
        turned = getattr(storage, "in_file_axes", lambda image, source: image)
        maps = [turned(as_plain(each), source).cpu().numpy() for each in (clean, attacked)]
        return _as_nifti(stored.parent, stem, files[0], maps, told)
    if stored.is_dir() and any(looks_like_dicom(path) for path in files):
        maps = [as_plain(each).cpu().numpy() for each in (clean, attacked)]
        return _as_dicom(stored, stem, maps, names, told)
    return []


def _as_nifti(folder: Path, stem: str, like: Path, maps: Sequence[np.ndarray], told: set[str]) -> list[Path]:
    image: Any = nib.load(like)
    grid = image.shape[: maps[0].ndim - 1]
    if any(each.shape[1:] != grid for each in maps):
        return _none(told, f"no decisions beside stored volumes: the decision is not on their grid {grid}.")
    paths = [folder / f"{stem}_decision_{kind}.nii.gz" for kind in KINDS]
    return [write_decision(path, each, like, kind) for path, each, kind in zip(paths, maps, KINDS, strict=True)]


def _as_dicom(
    folder: Path, stem: str, maps: Sequence[np.ndarray], names: Sequence[str] | None, told: set[str]
) -> list[Path]:
    series = read_dicom_series(folder)
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
        path = folder.with_name(f"{stem}_decision_{kind}.dcm")
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
