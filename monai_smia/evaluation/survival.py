"""Measures what is left of an attack after the usual degradation of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from monai.data import MetaTensor
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_smia.attacks import Attack
from monai_smia.degradations import Degradation
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.pipeline import Scored
from monai_smia.evaluation.predictor import attacked
from monai_smia.records import Record, Stage
from monai_smia.records.damage import damages
from monai_smia.victims import degraded
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import as_plain


def degraded_image(image: Tensor, degradation: Degradation) -> Tensor:
    """A batch after a degradation, still a MetaTensor where it was one."""
    after = degradation(as_plain(image))
    return convert_to_dst_type(after, image)[0] if isinstance(image, MetaTensor) else after


def degraded_records(
    victim: Victim,
    score: Callable[[Case, Tensor], Scored],
    survival: Mapping[str, Degradation],
    case: Case,
    record: Record,
    image: Tensor,
    attack: Attack | None,
    device: torch.device,
) -> list[Record]:
    """The records of a row's image after every degradation, and those of the oracle, which attacks through it.

    Args:
        victim: what is attacked.
        score: the pipeline's figures of an image of the case.
        survival: the degradations by name.
        case: the case.
        record: of the row as computed.
        image: what was attacked (or the clean image), stored and read back where there is a storage.
        attack: the row's; None for the clean one.
        device: of the network.
    """
    records = []
    for name, degradation in survival.items():
        stages = {Stage.after(name): image}
        if attack is not None:
            stages[Stage.oracle(name)] = attacked(degraded(victim, degradation), case, device, attack).adversarial
        for stage, adversarial in stages.items():
            there = score(case, degraded_image(adversarial, degradation))
            records.append(record.at(stage, there.metrics | damages(there.damage)))
    return records
