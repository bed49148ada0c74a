"""Adversarial robustness of medical AI, for MONAI."""

from __future__ import annotations

__version__ = "0.2.0"
