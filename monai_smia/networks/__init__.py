"""Networks that MONAI does not have."""

from __future__ import annotations

from monai_smia.networks.calibration import fold_temperature
from monai_smia.networks.lesion_supervision import GradingLoss, LesionSupervision
from monai_smia.networks.multi_scale_booster import BoosterPyramid, MultiScaleBooster
from monai_smia.networks.resnet_gcn import GraphConvolution, ResNetGCN, normalized_adjacency

__all__ = [
    "BoosterPyramid",
    "GradingLoss",
    "GraphConvolution",
    "LesionSupervision",
    "MultiScaleBooster",
    "ResNetGCN",
    "fold_temperature",
    "normalized_adjacency",
]
