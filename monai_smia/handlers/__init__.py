"""Ignite handlers."""

from __future__ import annotations

from monai_smia.handlers.attack import AttackHandler

__all__ = ["AttackHandler"]
