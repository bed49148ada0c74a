"""Attacks: one algorithm a file, on a victim and a threat model."""

from __future__ import annotations

from monai_smia._moved import moved
from monai_smia.attacks.apgd import APGD, SEA_SCHEDULE
from monai_smia.attacks.apgdt import APGDT
from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.bim import BIM
from monai_smia.attacks.composite import (
    CoarseToFine,
    CriticalRadius,
    Embedding,
    Ensemble,
    LowFrequency,
    NetworkSpaceAttack,
    Transfer,
)
from monai_smia.attacks.cospgd import CosPGD
from monai_smia.attacks.dag import DAG
from monai_smia.attacks.decision import DecisionSearch
from monai_smia.attacks.deepfool import DeepFool
from monai_smia.attacks.difgsm import DIFGSM
from monai_smia.attacks.fgsm import FGSM
from monai_smia.attacks.fmn import FMN
from monai_smia.attacks.fmnt import FMNT
from monai_smia.attacks.iterative import Iterate, IterativeAttack, State
from monai_smia.attacks.mifgsm import MIFGSM
from monai_smia.attacks.noise import Noise
from monai_smia.attacks.pgd import PGD
from monai_smia.attacks.rays import RayS
from monai_smia.attacks.reading import READINGS, Reading
from monai_smia.attacks.result import AttackResult
from monai_smia.attacks.segpgd import SegPGD
from monai_smia.attacks.shift import ShiftAttack
from monai_smia.attacks.shift_search import ShiftResult, ShiftSearch
from monai_smia.attacks.smia import SMIA
from monai_smia.attacks.smoothed_shift import SmoothedShift
from monai_smia.attacks.square import Square
from monai_smia.attacks.survival import SurvivalSMIA
from monai_smia.attacks.try_all import TryAll
from monai_smia.attacks.universal import Universal
from monai_smia.attacks.universal_making import UniversalPattern, make_universal
from monai_smia.attacks.vafa import VAFA

__all__ = [
    "APGD",
    "APGDT",
    "BIM",
    "DAG",
    "DIFGSM",
    "FGSM",
    "FMN",
    "FMNT",
    "MIFGSM",
    "PGD",
    "READINGS",
    "SEA_SCHEDULE",
    "SMIA",
    "VAFA",
    "Attack",
    "AttackProblem",
    "AttackResult",
    "CoarseToFine",
    "CosPGD",
    "CriticalRadius",
    "DecisionSearch",
    "DeepFool",
    "Embedding",
    "Ensemble",
    "Iterate",
    "IterativeAttack",
    "LowFrequency",
    "NetworkSpaceAttack",
    "Noise",
    "RayS",
    "Reading",
    "SegPGD",
    "ShiftAttack",
    "ShiftResult",
    "ShiftSearch",
    "SmoothedShift",
    "Square",
    "State",
    "SurvivalSMIA",
    "Transfer",
    "TryAll",
    "Universal",
    "UniversalPattern",
    "make_universal",
]
__getattr__ = moved(__name__, {"OnNetworkGrid": "monai_smia.attacks.composite:NetworkSpaceAttack"})
