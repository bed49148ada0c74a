"""nnU-Net's normalization of a channel, differentiably."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LEAST = 1e-8  # of what is divided by
CT, ZSCORE, RESCALE, RGB, NOTHING = (
    "CTNormalization",
    "ZScoreNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
    "NoNormalization",
)
KNOWN = (CT, ZSCORE, RESCALE, RGB, NOTHING)
Statistics = tuple[Tensor, Tensor]  # what is subtracted, and what is divided by


@dataclass(frozen=True)
class Normalization:
    """How nnU-Net normalizes one channel.

    Args:
        scheme: name of its class, one of `KNOWN`.
        masked: statistics and result are of the nonzero region alone.
        mean, std, low, high: of the foreground, by the fingerprint of the training data; a CT is clipped to the range
            from `low` to `high`.
        straight_through: let the gradient through where a CT is clipped.

    Raises:
        ValueError: if the scheme is not known.

    Example:
        >>> ct = Normalization(CT, mean=50.0, std=100.0, low=-150.0, high=250.0)
        >>> ct(torch.tensor([-1000.0, 50.0, 150.0])).tolist()
        [-2.0, 0.0, 1.0]
    """

    scheme: str
    masked: bool = False
    mean: float = 0.0
    std: float = 1.0
    low: float = 0.0
    high: float = 0.0
    straight_through: bool = False

    def __post_init__(self) -> None:
        if self.scheme not in KNOWN:
            raise ValueError(f"normalization must be one of {', '.join(KNOWN)}, got {self.scheme!r} in the plans.")

    @classmethod
    def of_plan(
        cls, scheme: str, masked: bool, fingerprint: Mapping[str, Any], *, straight_through: bool = False
    ) -> Normalization:
        """As the plans have it."""
        names = {"mean": "mean", "std": "std", "low": "percentile_00_5", "high": "percentile_99_5"}
        values = {name: float(fingerprint[key]) for name, key in names.items() if key in fingerprint}
        return cls(scheme, bool(masked), **values, straight_through=straight_through)

    @property
    def scale(self) -> float | None:
        """Network units per unit of the image; None where every image has its own."""
        return {CT: 1 / max(self.std, LEAST), RGB: 1 / 255, NOTHING: 1.0}.get(self.scheme)

    def statistics(self, image: Tensor, mask: Tensor | None) -> Statistics | None:
        """What this image is normalized by, differentiably; None where it is by nothing of its own.

        Args:
            image: one channel, cropped.
            mask: its nonzero region, bool.
        """
        if self.scheme == ZSCORE:
            voxels = image[mask] if self.masked and mask is not None else image
            mean = voxels.mean()
            return mean, (voxels - mean).square().mean().clamp_min(LEAST**2).sqrt()
        if self.scheme == RESCALE:
            low = image.amin()
            return low, (image.amax() - low).clamp_min(LEAST)
        return None

    def __call__(self, image: Tensor, mask: Tensor | None = None, statistics: Statistics | None = None) -> Tensor:
        """The channel normalized.

        Args:
            image: one channel, cropped.
            mask: its nonzero region, bool; needed where `masked`.
            statistics: in the place of its own.
        """
        if self.scheme == CT:
            clipped = image.clamp(self.low, self.high)
            if self.straight_through:
                clipped = image + (clipped - image).detach()
            return (clipped - self.mean) / max(self.std, LEAST)
        if self.scheme == RGB:
            return image / 255
        found = self.statistics(image, mask) if statistics is None else statistics
        if found is None:
            return image
        normalized = (image - found[0]) / found[1]
        return torch.where(mask, normalized, image) if self.masked and mask is not None else normalized
