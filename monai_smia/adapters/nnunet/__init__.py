"""nnU-Net v2 under attack, as it is deployed (needs the extra ``nnunet``)."""

from __future__ import annotations

from monai_smia.adapters.nnunet.evaluation import nnunet_evaluation
from monai_smia.adapters.nnunet.victim import NNUNetVictim

__all__ = ["NNUNetVictim", "nnunet_evaluation"]
