"""Attacks made of attacks; each is an attack itself and may be a part of another."""

from __future__ import annotations

from monai_smia.attacks.composite.coarse_to_fine import CoarseToFine
from monai_smia.attacks.composite.critical_radius import CriticalRadius
from monai_smia.attacks.composite.embedding import Embedding
from monai_smia.attacks.composite.ensemble import Ensemble
from monai_smia.attacks.composite.low_frequency import LowFrequency
from monai_smia.attacks.composite.network_space import NetworkSpaceAttack
from monai_smia.attacks.composite.transfer import Transfer

__all__ = ["CoarseToFine", "CriticalRadius", "Embedding", "Ensemble", "LowFrequency", "NetworkSpaceAttack", "Transfer"]
