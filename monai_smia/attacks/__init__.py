"""Attacks: one algorithm a file, on a victim and a threat model."""

from __future__ import annotations

from monai_smia.attacks.base import Attack, AttackResult
from monai_smia.attacks.bim import BIM
from monai_smia.attacks.deepfool import DeepFool
from monai_smia.attacks.fgsm import FGSM
from monai_smia.attacks.iterative import Iterate, IterativeAttack
from monai_smia.attacks.mifgsm import MIFGSM
from monai_smia.attacks.noise import Noise
from monai_smia.attacks.pgd import PGD
from monai_smia.attacks.smia import SMIA

__all__ = [
    "BIM",
    "FGSM",
    "MIFGSM",
    "PGD",
    "SMIA",
    "Attack",
    "AttackResult",
    "DeepFool",
    "Iterate",
    "IterativeAttack",
    "Noise",
]
