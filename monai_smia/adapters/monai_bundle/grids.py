"""Grids: where the voxels of an image lie, whether two are the same, and masks taken from one to another."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from monai.utils import MetaKeys
from torch import Tensor

from monai_smia.victims.preprocessing import as_plain

FROM_FILES = (str(MetaKeys.ORIGINAL_AFFINE), "filename_or_obj")  # metadata of an image that a reader has loaded


def affine_of(image: Any) -> Tensor | None:
    """The affine of an image or of a batch of one; None where it has none, or the one that MONAI makes up.

    What goes through a transform of numpy comes out as an array, of which the next transform makes a MetaTensor: its
    affine is the identity, and its metadata know of no file. Of a tuple or dictionary of predictions MONAI hands on a
    row of the affine, which is none.
    """
    if not isinstance(image, MetaTensor):
        return None
    affine = (image.affine[0] if image.affine.ndim == 3 else image.affine).detach().cpu().double()
    if affine.ndim != 2:
        return None
    made_up = not any(name in image.meta for name in FROM_FILES) and torch.equal(
        affine, torch.eye(len(affine)).double()
    )
    return None if made_up else affine


def same_grid(first: Tensor, first_affine: Tensor | None, second: Tensor, second_affine: Tensor | None) -> bool:
    """Whether two batches of one lie on one grid; where an affine is not known, whether they have one shape."""
    if first.shape[2:] != second.shape[2:]:
        return False
    if first_affine is None or second_affine is None:
        return True
    return torch.allclose(first_affine, second_affine, atol=1e-3)


def lie_alike(first: Tensor, second: Tensor) -> bool:
    """Whether two batches of one lie on one grid, as their metadata say."""
    return same_grid(first, affine_of(first), second, affine_of(second))


def on_grid(mask: Tensor, affine: Tensor | None, like: Tensor, like_affine: Tensor | None) -> Tensor:
    """A mask ``(K, *spatial)`` where another image ``(C, *spatial)`` lies, nearest neighbor; 0 outside of it.

    Raises:
        ValueError: if they have different shapes and one has no affine.
    """
    plain = as_plain(mask)
    if affine is None or like_affine is None:
        if plain.shape[1:] != like.shape[1:]:
            raise ValueError(
                f"a map of shape {tuple(plain.shape[1:])} must be taken to {tuple(like.shape[1:])}, and the metadata "
                "that say how are lost on the way."
            )
        return plain
    if plain.shape[1:] == like.shape[1:] and torch.allclose(affine, like_affine, atol=1e-3):
        return plain
    resample = SpatialResample(mode="nearest", padding_mode="zeros", align_corners=False, dtype=np.float32)
    moved = resample(MetaTensor(plain.float(), affine=affine), dst_affine=like_affine, spatial_size=like.shape[1:])
    return as_plain(moved).to(plain.dtype)
