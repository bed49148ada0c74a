"""Lung segmentation in CT."""

from __future__ import annotations

from monai_smia.targets.ct_lung.calibration import fold_temperature
from monai_smia.targets.ct_lung.gas import RandBowelGasd
from monai_smia.targets.ct_lung.labels import DropFreeAird
from monai_smia.targets.ct_lung.layouts import ct_datalist
from monai_smia.targets.ct_lung.loading import LoadHounsfieldd
from monai_smia.targets.ct_lung.phantom import ThoraxPhantom, thorax_phantom, write_ct_phantoms
from monai_smia.targets.ct_lung.series import WithinSeriesd

__all__ = [
    "DropFreeAird",
    "LoadHounsfieldd",
    "RandBowelGasd",
    "ThoraxPhantom",
    "WithinSeriesd",
    "ct_datalist",
    "fold_temperature",
    "thorax_phantom",
    "write_ct_phantoms",
]
