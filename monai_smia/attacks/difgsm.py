"""Diverse input iterative FGSM."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from monai_smia.attacks.iterative import Iterate
from monai_smia.attacks.mifgsm import MIFGSM

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@dataclass(kw_only=True, eq=False)
class DIFGSM(MIFGSM):
    """Diverse input iterative FGSM (Xie et al., CVPR 2019): every step sees the image resized and padded at random.

    Args:
        shrink: least size of the resized image as a share of its own, in (0, 1]; 1 is `MIFGSM`.
        probability: share of the steps at which a sample is resized, in [0, 1].

    The other arguments are those of `MIFGSM`; ``decay=0`` is the paper's attack without momentum.

    Example:
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim = SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1))
        >>> DIFGSM(eps=0.03, steps=3)(victim, torch.rand(1, 1, 16, 16), torch.ones(1, 1, 16, 16)).gradients.tolist()
        [3]
    """

    shrink: float = 0.9
    probability: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.shrink <= 1:
            raise ValueError(f"shrink must lie in (0, 1], got {self.shrink}.")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must lie in [0, 1], got {self.probability}.")

    def augment(self, iterate: Iterate) -> Tensor:
        """Every sample resized to its own random size and padded with zeros at a random place, or left as it is."""
        return torch.cat(
            [self._one(x, g) for x, g in zip(iterate.adversarial.split(1), iterate.generators, strict=True)]
        )

    def _one(self, image: Tensor, generator: torch.Generator) -> Tensor:
        size = image.shape[2:]
        resized, ratio, *places = torch.rand(2 + len(size), generator=generator).tolist()
        if resized >= self.probability:
            return image
        small = [max(round(n * (self.shrink + (1 - self.shrink) * ratio)), 1) for n in size]
        first = [int(place * (n - m + 1)) for place, n, m in zip(places, size, small, strict=True)]
        ends = zip(reversed(first), reversed(size), reversed(small), strict=True)
        return F.pad(
            F.interpolate(image, small, mode=LINEAR[len(size)]), [w for a, n, m in ends for w in (a, n - m - a)]
        )
