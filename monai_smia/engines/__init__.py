"""Engines."""

from __future__ import annotations

from monai_smia.engines.evaluator import AttackEvaluator

__all__ = ["AttackEvaluator"]
