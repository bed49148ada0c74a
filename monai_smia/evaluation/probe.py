"""Measures on one case what the flags need to know of a victim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from monai_smia.attacks import FGSM, Attack, Noise
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.records import Probe
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import as_plain

NOISE_DRAWS = 8


def probe(victim: Victim, case: Case, attack: Attack) -> Probe:
    """One gradient and a dozen predictions.

    Args:
        victim: what is attacked.
        case: the case.
        attack: gives radius, norm, valid range and loss.
    """
    options: dict[str, Any] = {"eps": attack.eps, "norm": attack.norm, "clip": attack.clip, "loss": attack.loss}
    with victim.frozen():
        train_mode = any(module.training for module in victim.network.modules())
    first, second = (_flat(victim.infer(case.image)) for _ in range(2))
    bound = victim.bind(case.image, case.label)[0]  # once, for all of them
    step = FGSM(progress=False, **options)(bound, case.image, case.label, mask=case.mask).loss_history[:, 0]
    noisy = [_loss_under_noise(bound, case, Noise(seed=seed, keep="last", **options)) for seed in range(NOISE_DRAWS)]
    return Probe(
        train_mode=train_mode,
        repeated=float((first - second).abs().max() / first.abs().max().clamp_min(1e-12)),
        gradient_gain=float(step[1] - step[0]),
        noise_gain=max(noisy) - float(step[0]),
    )


@torch.no_grad()
def _loss_under_noise(victim: Victim, case: Case, noise: Noise) -> float:
    """The loss of one draw, by one prediction."""
    drawn = noise(victim, case.image, case.label, mask=case.mask).adversarial
    bound, label = noise.victim_for(victim).bind(case.image, case.label)
    with victim.frozen():
        return float(bound.checked_loss(bound.predict(as_plain(drawn)), label)[0])


def _flat(prediction: Any) -> Tensor:
    """All values of a prediction, a tensor or a dictionary or list of them, in one vector."""
    return torch.cat(list(_tensors(prediction)))


def _tensors(prediction: Any) -> Iterator[Tensor]:
    if isinstance(prediction, Tensor):
        yield prediction.detach().flatten().float()
    elif isinstance(prediction, (Mapping, list, tuple)):  # a detector's sizes, beside its maps, are numbers: no values
        for part in prediction.values() if isinstance(prediction, Mapping) else prediction:
            yield from _tensors(part)


def probing_attack(plan: Sequence[PlannedAttack]) -> Attack | None:
    """The attack of the smallest radius, for the flags."""
    attacks = [row.attack for row in plan if row.attack is not None and (row.attack.eps or 0) > 0]
    return min(attacks, key=lambda attack: attack.eps or 0.0, default=None)
