"""Certificates: what no change of a given size can do, with a stated confidence."""

from __future__ import annotations

from monai_smia.certificates.smoothing import (
    Certificate,
    SegmentationCertificate,
    certify_class,
    certify_segmentation,
    lower_bound,
)

__all__ = ["Certificate", "SegmentationCertificate", "certify_class", "certify_segmentation", "lower_bound"]
