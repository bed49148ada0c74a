"""Measures what is left of an attack after the usual degradation of an image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from monai.data import MetaTensor
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_smia.attacks import Attack
from monai_smia.degradations import Degradation
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.predictor import predict
from monai_smia.metrics import CaseMetrics
from monai_smia.records import Record, Stage
from monai_smia.victims import degraded
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import as_plain


def degraded_image(image: Tensor, degradation: Degradation) -> Tensor:
    """A batch after a degradation, still a MetaTensor where it was one."""
    after = degradation(as_plain(image))
    return convert_to_dst_type(after, image)[0] if isinstance(image, MetaTensor) else after


def degraded_records(
    victim: Victim,
    metrics: CaseMetrics,
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
        metrics: of the task.
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
            stages[Stage.oracle(name)] = predict(degraded(victim, degradation), case, device, attack).image
        for stage, attacked in stages.items():
            there = case.with_image(degraded_image(attacked, degradation))
            scores = metrics.case(victim, predict(victim, there, device).prediction, case.label, case.image)
            records.append(record.at(stage, scores))
    return records
