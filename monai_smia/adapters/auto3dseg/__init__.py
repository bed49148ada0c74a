"""Auto3DSeg's algorithm folders under attack, as they are deployed."""

from __future__ import annotations

from monai_smia.adapters.auto3dseg.evaluation import auto3dseg_evaluation
from monai_smia.adapters.auto3dseg.victim import Auto3DSegVictim

__all__ = ["Auto3DSegVictim", "auto3dseg_evaluation"]
