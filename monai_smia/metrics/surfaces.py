"""Distances of two surfaces, taken once for all metrics that are made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics.utils import get_edge_surface_distance


def surface_scores(
    decided: np.ndarray, truth: np.ndarray, spacing: Sequence[float], tolerance: float
) -> tuple[float, float]:
    """95th percentile Hausdorff distance and surface Dice of two masks, neither of which is empty.

    Of MONAI's distances between edge voxels: the values of its `compute_hausdorff_distance` and, without subvoxels, of
    its `compute_surface_dice`.

    Args:
        decided: mask ``(*spatial)``, bool.
        truth: of the same shape.
        spacing: size of a voxel along each axis.
        tolerance: distance that the surface Dice lets pass, in the spacing's unit.

    Returns:
        The distance in the spacing's unit, and the share of edge voxels of both masks within the tolerance.

    Example:
        >>> decided, truth = np.zeros((2, 9, 9), bool)
        >>> decided[2:6, 2:6], truth[2:6, 3:7] = True, True
        >>> [round(value, 3) for value in surface_scores(decided, truth, (2.0, 1.0), 0.5)]
        [1.0, 0.5]
    """
    ours, theirs = (torch.as_tensor(mask) for mask in (decided, truth))
    _, distances, _ = get_edge_surface_distance(ours, theirs, spacing=list(spacing), symmetric=True)
    percentile = max(float(torch.quantile(side, 0.95)) for side in distances)
    within = sum(int((side <= tolerance).sum()) for side in distances)
    return percentile, within / sum(map(len, distances))
