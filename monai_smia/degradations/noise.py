"""Random noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from monai_smia.degradations.base import Degradation


@dataclass(frozen=True)
class AddNoise(Degradation):
    """Gaussian noise, the same in every call and for every sample.

    Args:
        sigma: standard deviation in the image's unit, >= 0.
        seed: seed of the draw.

    Example:
        >>> image = torch.zeros(2, 1, 8, 8)
        >>> noisy = AddNoise(0.1)(image)
        >>> bool((noisy[0] == noisy[1]).all()), bool((noisy == AddNoise(0.1)(image)).all())
        (True, True)
    """

    sigma: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < float("inf"):
            raise ValueError(f"sigma must be a finite number >= 0, got {self.sigma}.")

    def __call__(self, image: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return image + self.sigma * torch.randn(image.shape[1:], generator=generator).to(image)
