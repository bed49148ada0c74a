"""Deprecated: the networks of the three targets live in `monai_smia.targets`."""

from __future__ import annotations

from monai_smia._moved import moved

__getattr__ = moved(
    __name__,
    {
        "BoosterPyramid": "monai_smia.targets.endoscopy",
        "GradingLoss": "monai_smia.targets.fundus",
        "GraphConvolution": "monai_smia.targets.fundus",
        "LesionSupervision": "monai_smia.targets.fundus",
        "MultiScaleBooster": "monai_smia.targets.endoscopy",
        "ResNetGCN": "monai_smia.targets.fundus",
        "fold_temperature": "monai_smia.targets.ct_lung",
        "normalized_adjacency": "monai_smia.targets.fundus",
    },
)
