"""Metrics: MONAI's for the task, ours for the perturbation."""

from __future__ import annotations

from monai_smia.metrics.base import CaseMetrics, means
from monai_smia.metrics.classification import (
    ClassificationMetrics,
    calibration_error,
    quadratic_weighted_kappa,
    wilson_interval,
)
from monai_smia.metrics.detection import DetectionMetrics
from monai_smia.metrics.perturbation import (
    l2_norm,
    linf_norm,
    mean_cosine,
    perturbation_metrics,
    positive_cosine,
    rms,
    variance,
)
from monai_smia.metrics.regression import RegressionMetrics
from monai_smia.metrics.segmentation import SegmentationMetrics
from monai_smia.metrics.structures import channel_names

__all__ = [
    "CaseMetrics",
    "ClassificationMetrics",
    "DetectionMetrics",
    "RegressionMetrics",
    "SegmentationMetrics",
    "calibration_error",
    "channel_names",
    "l2_norm",
    "linf_norm",
    "mean_cosine",
    "means",
    "perturbation_metrics",
    "positive_cosine",
    "quadratic_weighted_kappa",
    "rms",
    "variance",
    "wilson_interval",
]
