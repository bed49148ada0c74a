"""Lesions: separate parts of a mask, one by one."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label


def lesion_counts(decided: np.ndarray, truth: np.ndarray, overlap: float) -> tuple[int, int, int]:
    """Lesions of the truth, those of them that are found, and those of the decision that are false.

    A lesion is a connected part of a mask (voxels that touch at a corner are connected). One of the truth is found
    where the decision covers at least a share `overlap` of its voxels; one of the decision is false where the truth
    covers less than this share of it.

    Args:
        decided: mask ``(*spatial)``, bool.
        truth: of the same shape.
        overlap: least share, in (0, 1].

    Example:
        >>> truth = np.array([[1, 1, 0, 0, 1, 0, 0]], bool)
        >>> decided = np.array([[0, 1, 0, 0, 0, 0, 1]], bool)
        >>> lesion_counts(decided, truth, 0.5)
        (2, 1, 1)
    """
    found = _covered(truth, decided, overlap)
    true = _covered(decided, truth, overlap)
    return len(found), int(found.sum()), int((~true).sum())


def _covered(mask: np.ndarray, by: np.ndarray, share: float) -> np.ndarray:
    """Of every part of a mask whether another one covers a share of it, bool."""
    parts, count = label(mask, np.ones((3,) * mask.ndim, bool))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    return np.bincount(parts[by], minlength=count + 1)[1:] >= share * sizes
