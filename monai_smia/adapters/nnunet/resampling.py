"""nnU-Net's resampling in torch: along every axis a matrix, whose transpose is its exact adjoint.

nnU-Net resamples with scikit-image, outside of torch. A spline of any order on a regular grid is a linear map that goes
axis by axis: every axis has a matrix, found by resampling unit vectors with the very functions that nnU-Net calls. What
is not linear is that scikit-image clips the result to the range of its input, of every slice where slices are resampled
by themselves; autograd follows that, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

SPLINE, TORCH, NONE = "resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack"
LINEAR = "linear"


@dataclass(frozen=True)
class Resampling:
    """One of nnU-Net's resampling functions, as plans name it.

    Args:
        name: of the function.
        order: of the spline in all axes, or in the plane where the remaining one goes by itself.
        order_z: of that one.
        separate_z: whether it goes by itself; None where the voxels' anisotropy says so.
        threshold: anisotropy from which on it does.
        mode: of the interpolation in torch.
        mode_z: of the axis that goes by itself there.

    Raises:
        ValueError: if there is no such function here.

    Example:
        >>> Resampling.of_plan(SPLINE, {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}).order
        1
    """

    name: str
    order: int = 3
    order_z: int = 0
    separate_z: bool | None = False
    threshold: float = 3.0
    mode: str = LINEAR
    mode_z: str = "nearest-exact"

    @classmethod
    def of_plan(cls, name: str, options: Mapping[str, Any]) -> Resampling:
        """The function of this name with the arguments that the plans give it."""
        if name not in (SPLINE, TORCH, NONE):
            raise ValueError(f"resampling must be one of {SPLINE}, {TORCH}, {NONE}, got {name!r} in the plans.")
        known = {
            "order": "order",
            "order_z": "order_z",
            "force_separate_z": "separate_z",
            "separate_z_anisotropy_threshold": "threshold",
            "mode": "mode",
            "aniso_axis_mode": "mode_z",
        }
        given = {known[key]: value for key, value in options.items() if key in known}
        return cls(name, **({"separate_z": None} if name == TORCH else {}) | given)

    def __call__(self, image: Tensor, shape: Sequence[int], current: Sequence[float], new: Sequence[float]) -> Tensor:
        """An image ``(C, *spatial)`` on a grid of another shape, differentiably.

        Args:
            image: floating point, of three spatial axes.
            shape: spatial shape to have.
            current: spacing that it has.
            new: spacing that it is to have; they say alone whether an axis goes by itself.
        """
        old, shape = tuple(image.shape[1:]), tuple(int(size) for size in shape)
        if self.name == NONE or old == shape:
            return image
        axis = self._alone(current, new)
        plane = [a for a in range(3) if a != axis]
        if self.name == TORCH:
            mode = LINEAR if axis is None else self.mode
            image = _along(image, shape, plane, partial(torch_matrix, mode=mode))
            alone = partial(torch_matrix, mode=self.mode_z)
        else:
            together = [a + 1 for a in plane]
            low, high = image.amin(together, keepdim=True), image.amax(together, keepdim=True)
            image = _along(image, shape, plane, partial(spline_matrix, order=self.order))
            image = torch.clamp(image, min=low, max=high) if self.order > 1 else image
            alone = partial(coordinate_matrix, order=self.order_z)
        return image if axis is None else _along(image, shape, [axis], alone)

    def _alone(self, current: Sequence[float], new: Sequence[float]) -> int | None:
        """The axis that goes by itself."""
        from nnunetv2.preprocessing.resampling.default_resampling import determine_do_sep_z_and_axis

        separate, axis = determine_do_sep_z_and_axis(self.separate_z, current, new, self.threshold)
        return int(axis) if separate else None


def _along(image: Tensor, shape: Sequence[int], axes: Sequence[int], matrix: Callable[[int, int], Tensor]) -> Tensor:
    """An image ``(C, *spatial)`` with a matrix applied along every one of these axes, what shrinks first."""
    for axis in sorted(axes, key=lambda a: shape[a] / image.shape[a + 1]):
        old, new = image.shape[axis + 1], shape[axis]
        if old != new:
            weights = matrix(old, new).to(image)
            image = torch.tensordot(image, weights, dims=([axis + 1], [1])).movedim(-1, axis + 1)
    return image


@lru_cache(maxsize=64)
def spline_matrix(old: int, new: int, order: int) -> Tensor:
    """``(new, old)``: what `skimage.transform.resize` does along an axis (``mode="edge"``, no anti-aliasing, no clip).

    Example:
        >>> spline_matrix(2, 4, 1).tolist()
        [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    return _of_units(old, lambda unit: ndimage.zoom(unit, new / old, order=order, mode="nearest", grid_mode=True))


@lru_cache(maxsize=64)
def coordinate_matrix(old: int, new: int, order: int) -> Tensor:
    """``(new, old)``: what `scipy.ndimage.map_coordinates` does along the axis that goes by itself.

    Example:
        >>> coordinate_matrix(2, 4, 0).argmax(1).tolist()
        [0, 0, 1, 1]
    """
    places = old / new * (np.arange(new) + 0.5) - 0.5
    return _of_units(old, lambda unit: ndimage.map_coordinates(unit, [places], order=order, mode="nearest"))


@lru_cache(maxsize=64)
def torch_matrix(old: int, new: int, mode: str) -> Tensor:
    """``(new, old)``: what `torch.nn.functional.interpolate` does along an axis.

    Example:
        >>> torch_matrix(2, 4, "linear").tolist()
        [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    return F.interpolate(torch.eye(old, dtype=torch.float64)[:, None], new, mode=mode)[:, 0].T.contiguous()


def _of_units(size: int, resample: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack([resample(unit) for unit in np.eye(size)], axis=1))
