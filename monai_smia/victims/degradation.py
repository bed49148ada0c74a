"""Victims behind a degradation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from monai_smia.victims.base import Victim

AnyVictim = TypeVar("AnyVictim", bound=Victim)


def degraded(victim: AnyVictim, degradation: Callable[[Tensor], Tensor]) -> AnyVictim:
    """The victim behind a degradation: what attacks it is made to survive just that.

    Preprocessing is still frozen on the image as it is given.

    Args:
        victim: any victim.
        degradation: differentiable, as those of `monai_smia.degradations`.

    Raises:
        ValueError: if the victim has a degradation already.

    Example:
        >>> import torch
        >>> from monai_smia.degradations import Smooth
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim, smooth = SegmentationVictim(torch.nn.Conv2d(1, 2, 1)), Smooth(1.0)
        >>> image = torch.rand(1, 1, 8, 8)
        >>> bool(torch.equal(degraded(victim, smooth).predict(image), victim.predict(smooth(image))))
        True
    """
    if victim.degradation is not None:
        raise ValueError(f"victim must have no degradation yet, it has {victim.degradation}; chain the two in one.")
    other = copy.copy(victim)  # bound where the victim is
    other.degradation = degradation
    return other
