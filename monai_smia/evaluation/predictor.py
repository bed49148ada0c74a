"""One case under an attack, by MONAI's own engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from torch import Tensor

from monai_smia.attacks import Attack, AttackResult
from monai_smia.engines import AttackEvaluator
from monai_smia.evaluation.cases import Case
from monai_smia.records.rows import BLACK_BOX, TRANSFER
from monai_smia.victims.base import Victim

QUERIES = "queries"  # of a black-box attack, a column of its rows


def attacked(victim: Victim, case: Case, device: torch.device, attack: Attack) -> AttackResult:
    """Attack a case from its own seed.

    Args:
        victim: what is attacked.
        case: the case.
        device: of the network.
        attack: the attack.
    """
    evaluator = AttackEvaluator(
        device,
        [case.batch()],
        victim.network,
        attack=attack.reseeded(lambda seed: case_seed(seed, case.name)),
        victim=victim,
        inferer=_NoPrediction(),
        mask_key="mask",
        decollate=False,
    )
    evaluator.run()
    result: AttackResult = evaluator.state.attack_result
    return result


class _NoPrediction(Inferer):
    """The pipeline predicts."""

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        return inputs


def case_seed(seed: int | Sequence[int], case: str) -> int:
    """The seed of an attack on a case: of its name, not of when it is its turn."""
    return int(np.random.SeedSequence([*np.atleast_1d(seed), *case.encode()]).generate_state(1)[0])


def queries_of(attack: Attack, result: AttackResult) -> dict[str, float]:
    """How often an attack that takes no gradient of the victim has asked it, the clean image included; transfer once.

    Args:
        attack: that was run.
        result: of it.
    """
    counts = {TRANSFER: 1.0, BLACK_BOX: float(len(result.loss_history))}
    return {QUERIES: counts[attack.knowledge]} if attack.knowledge in counts else {}
