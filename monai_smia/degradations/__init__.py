"""Degradations: changes that an image may undergo on its way to the network."""

from __future__ import annotations

from monai_smia.degradations.base import Degradation, Identity
from monai_smia.degradations.compression import Compress, Quantize
from monai_smia.degradations.filters import Box, Median, Smooth
from monai_smia.degradations.noise import AddNoise
from monai_smia.degradations.resampling import Resample

__all__ = ["AddNoise", "Box", "Compress", "Degradation", "Identity", "Median", "Quantize", "Resample", "Smooth"]
