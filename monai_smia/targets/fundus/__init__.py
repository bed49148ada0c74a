"""Grading of diabetic retinopathy in fundus photographs."""

from __future__ import annotations

from monai_smia.targets.fundus.efficient_gcn import EfficientGCN
from monai_smia.targets.fundus.feature_training import FeatureTraining
from monai_smia.targets.fundus.graph_classified import GraphClassified, GraphConvolution, normalized_adjacency
from monai_smia.targets.fundus.layouts import fundus_datalist
from monai_smia.targets.fundus.lesion_supervision import GradingLoss, LesionSupervision, ordinal_cross_entropy
from monai_smia.targets.fundus.lesions import draw_lesions
from monai_smia.targets.fundus.local_contrast import LocalContrast, LocalContrastd
from monai_smia.targets.fundus.phantom import FundusPhantom, fundus_phantom, write_fundus_phantoms
from monai_smia.targets.fundus.resnet_gcn import ResNetGCN
from monai_smia.targets.fundus.sampler import GradeSampler, grade_weights
from monai_smia.targets.fundus.transforms import RandPaintLesionsd, random_color

__all__ = [
    "EfficientGCN",
    "FeatureTraining",
    "FundusPhantom",
    "GradeSampler",
    "GradingLoss",
    "GraphClassified",
    "GraphConvolution",
    "LesionSupervision",
    "LocalContrast",
    "LocalContrastd",
    "RandPaintLesionsd",
    "ResNetGCN",
    "draw_lesions",
    "fundus_datalist",
    "fundus_phantom",
    "grade_weights",
    "normalized_adjacency",
    "ordinal_cross_entropy",
    "random_color",
    "write_fundus_phantoms",
]
