"""Measures what is left of an attack after the usual degradation of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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


def named_degradations(survival: Any) -> dict[str, Degradation]:
    """The degradations of an evaluation by their names, checked.

    Args:
        survival: as a config gives them; None for none.

    Raises:
        ValueError: if they are no names with a degradation each.

    Example:
        >>> named_degradations({"smoothed": "smooth"})
        Traceback (most recent call last):
        ValueError: survival must be names, each with a degradation such as {'smoothed': Smooth(sigma=1.0)}, or None, \
got {'smoothed': 'smooth'}.
    """
    found = {} if survival is None else survival
    if not isinstance(found, Mapping) or not all(isinstance(n, str) and n and callable(d) for n, d in found.items()):
        raise ValueError(
            "survival must be names, each with a degradation such as {'smoothed': Smooth(sigma=1.0)}, or None, got "
            f"{survival!r}."
        )
    return dict(found)


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
