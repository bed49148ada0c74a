"""Attacks: one algorithm a file, on a victim and a threat model."""

from __future__ import annotations

from monai_smia.attacks.apgd import APGD, SEA_SCHEDULE
from monai_smia.attacks.base import Attack, AttackResult
from monai_smia.attacks.bim import BIM
from monai_smia.attacks.cospgd import CosPGD
from monai_smia.attacks.dag import DAG
from monai_smia.attacks.deepfool import DeepFool
from monai_smia.attacks.composite.ensemble import Ensemble
from monai_smia.attacks.fgsm import FGSM
from monai_smia.attacks.fmn import FMN
from monai_smia.attacks.iterative import Iterate, IterativeAttack
from monai_smia.attacks.mifgsm import MIFGSM
from monai_smia.attacks.composite.network_space import OnNetworkGrid
from monai_smia.attacks.noise import Noise
from monai_smia.attacks.pgd import PGD
from monai_smia.attacks.segpgd import SegPGD
from monai_smia.attacks.smia import SMIA
from monai_smia.attacks.square import Square
from monai_smia.attacks.survival import SurvivalSMIA
from monai_smia.attacks.composite.transfer import Transfer

__all__ = [
    "APGD",
    "BIM",
    "DAG",
    "FGSM",
    "FMN",
    "MIFGSM",
    "PGD",
    "SEA_SCHEDULE",
    "SMIA",
    "Attack",
    "AttackResult",
    "CosPGD",
    "DeepFool",
    "Ensemble",
    "Iterate",
    "IterativeAttack",
    "Noise",
    "OnNetworkGrid",
    "SegPGD",
    "Square",
    "SurvivalSMIA",
    "Transfer",
]
