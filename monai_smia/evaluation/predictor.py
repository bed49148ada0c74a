"""One case predicted, clean or under an attack, by MONAI's own engine."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_smia.attacks import Attack, AttackResult
from monai_smia.engines import AttackEvaluator
from monai_smia.evaluation.cases import Case
from monai_smia.victims.base import Victim


@dataclass(frozen=True)
class Predicted:
    """A prediction on the case's own grid, the image it was made of, and the attack's result."""

    prediction: Any
    image: Tensor
    result: AttackResult | None


def predict(victim: Victim, case: Case, device: torch.device, attack: Attack | None = None) -> Predicted:
    """Predict a case.

    Args:
        victim: what predicts, and is attacked.
        case: the case.
        device: of the network.
        attack: attacks first, from the case's own seed; None predicts the image as it is.
    """
    seeded = copy.copy(attack)
    if seeded is not None:
        seeded.seed = case_seed(seeded.seed, case.name)
    evaluator = AttackEvaluator(
        device, [case.batch()], victim.network, attack=seeded, victim=victim, mask_key="mask", decollate=False
    )
    evaluator.run()
    output: Any = evaluator.state.output
    return Predicted(output["pred"], output["image"], getattr(evaluator.state, "attack_result", None))


def case_seed(seed: int | Sequence[int], case: str) -> int:
    """The seed of an attack on a case: of its name, not of when it is its turn."""
    return int(np.random.SeedSequence([*np.atleast_1d(seed), *case.encode()]).generate_state(1)[0])
