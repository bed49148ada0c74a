"""Degradations: changes that an image may undergo on its way to the network.

Every degradation maps a batch ``(B, C, *spatial)`` to one of the same shape, 2-D or 3-D, in the image's own unit. The
gradient goes through: exactly where the degradation is smooth, straight through (as if nothing had happened) where it
leaves PyTorch or rounds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


class Degradation(ABC):
    """A deterministic change of an image that keeps its shape and its unit."""

    @abstractmethod
    def __call__(self, image: Tensor) -> Tensor:
        """The image after it, of the same shape.

        Args:
            image: ``(B, C, *spatial)``.
        """


@dataclass(frozen=True)
class Identity(Degradation):
    """No change: the image as it is.

    Example:
        >>> import torch
        >>> image = torch.rand(1, 1, 4, 4)
        >>> Identity()(image) is image
        True
    """

    def __call__(self, image: Tensor) -> Tensor:
        return image


def check_spatial(image: Tensor) -> None:
    """Raise a ValueError where an image has no axis to filter or resample along, which would leave it as it is.

    Args:
        image: ``(B, C, *spatial)``.
    """
    if image.ndim < 3:
        raise ValueError(f"image must be a batch (B, C, *spatial) to be degraded, got {tuple(image.shape)}.")


def straight_through(image: Tensor, degraded: Tensor) -> Tensor:
    """The value of one, the gradient of the other."""
    return image + (degraded.to(image) - image).detach()
