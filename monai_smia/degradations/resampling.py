"""Resampling to another grid and back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from monai_smia.degradations.base import Degradation, check_spatial

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class Resample(Degradation):
    """Linear interpolation to a coarser (or finer) grid and back.

    Args:
        factor: how much longer a voxel of the other grid is, > 0.

    Example:
        >>> import torch
        >>> Resample(2.0)(torch.eye(4).view(1, 1, 4, 4))[0, 0].sum().round(decimals=3)
        tensor(4.)
    """

    factor: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.factor < float("inf"):
            raise ValueError(f"factor must be a finite number > 0, got {self.factor}.")

    def __call__(self, image: Tensor) -> Tensor:
        check_spatial(image)
        shape = image.shape[2:]
        mode = LINEAR[len(shape)]
        other = [max(round(n / self.factor), 1) for n in shape]
        return F.interpolate(F.interpolate(image, other, mode=mode), shape, mode=mode)
