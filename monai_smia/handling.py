"""Deprecated: a change of an image on its way to the network is called a degradation, `monai_smia.degradations`."""

from __future__ import annotations

from monai_smia._moved import moved

_HOME = "monai_smia.degradations"
_SAME = ("AddNoise", "Box", "Compress", "Median", "Resample", "Smooth")
_RENAMED = {"Handling": "Degradation", "Quantise": "Quantize", "Untouched": "Identity"}
__getattr__ = moved(
    __name__, {**dict.fromkeys(_SAME, _HOME), **{old: f"{_HOME}:{new}" for old, new in _RENAMED.items()}}
)
