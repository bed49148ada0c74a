"""Flags that say when a result should not be trusted: a network that seems robust because its gradient is hidden.

After Carlini et al., On Evaluating Adversarial Robustness (2019), and the flags of AutoAttack (Croce and Hein, 2020). A
flag says that a figure may be too good, never that it is good; a result without any is not proven either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_smia.attacks import FGSM, Attack, Noise
from monai_smia.evaluation.plan import PAPER
from monai_smia.victims.base import Victim

Record = Mapping[str, Any]
NOISE_DRAWS = 8
MARGIN = 0.02  # of damage: differences below are not worth a flag


@dataclass(frozen=True)
class Flag:
    """One reason for distrust.

    Args:
        name: short and constant, for programs.
        text: what was seen.
    """

    name: str
    text: str


def probe(victim: Victim, case: Mapping[str, Any], attack: Attack) -> dict[str, Any]:
    """What the flags need to know of a victim, measured on one case: one gradient and a dozen predictions.

    Args:
        victim: what is attacked.
        case: with ``image``, ``label`` and ``mask``.
        attack: gives radius, norm and valid range.

    Returns:
        ``train_mode``: a module stays in train mode though the network is in eval mode; ``repeated``: largest
        difference of two predictions of the same image, relative to the largest value; ``gradient_gain``: how much one
        step along the gradient raises the loss; ``noise_gain``: the most that noise of the same size does.
    """
    options: dict[str, Any] = {"eps": attack.eps, "norm": attack.norm, "clip": attack.clip, "loss": attack.loss}
    with victim.frozen():
        train_mode = any(module.training for module in victim.network.modules())
    first, second = (_flat(victim.infer(case["image"])) for _ in range(2))
    step = FGSM(progress=False, **options)(victim, case["image"], case["label"], mask=case["mask"]).loss_history[:, 0]
    noisy = [
        Noise(seed=draw, **options)(victim, case["image"], case["label"], mask=case["mask"]).loss_history[0, 0]
        for draw in range(NOISE_DRAWS)
    ]
    return {
        "train_mode": train_mode,
        "repeated": float((first - second).abs().max() / first.abs().max().clamp_min(1e-12)),
        "gradient_gain": float(step[1] - step[0]),
        "noise_gain": float(torch.stack(noisy).max() - step[0]),
    }


def flags_of(groups: Mapping[tuple[Any, ...], Sequence[Record]]) -> list[dict[str, str]]:
    """The flags of an evaluation.

    Args:
        groups: records by row, as `monai_smia.analysis.summary.groups_of` gives them.

    Returns:
        Name and text of every flag; empty where there is none.
    """
    rows = [_Row(members) for members in groups.values() if members[0]["stage"] == "computed"]
    attacks = [row for row in rows if row.damage is not None and row.first.get("attack") != "Clean"]
    white = [row for row in attacks if row.gradients > 0 and row.first["setting"] != "transfer"]
    probes = [record["probe"] for row in rows for record in row.members if record.get("probe")]
    found = [*_victim_flags(probes), *_control_flags(attacks, white), *_growth_flags(white)]
    for row in white:
        found += row.flags()
    return [asdict(flag) for flag in found]


class _Row:
    """Records of one attack, with what the flags look at."""

    def __init__(self, members: Sequence[Record]) -> None:
        self.members, self.first = members, members[0]
        damages = [r["damage"] for r in members if r.get("damage") is not None]
        self.damage = float(np.mean(damages)) if damages else None
        self.gradients = max(r.get("gradients") or 0 for r in members)
        self.name = " ".join(str(p) for p in (self.first["attack"], self.first["loss"], self.first["setting"]) if p)
        self.name += f" at {self.first['eps']:g}" if self.first["eps"] is not None else ""

    def flags(self) -> list[Flag]:
        """Of this row alone."""
        total, found = len(self.members), []
        still = sum(bool(r.get("still_steps")) for r in self.members)
        if still:
            found.append(
                Flag("zero gradients", f"{self.name}: steps without any gradient in {still} of {total} cases.")
            )
        early = sum(
            r["gradients"] < (r.get("planned_gradients") or 0) and (r.get("damage") or 0) < 1 for r in self.members
        )
        if early and self.first["attack"] not in ("DeepFool", "DAG"):  # these end where the decision changes
            found.append(
                Flag("stopped early", f"{self.name}: fewer gradients than planned in {early} of {total} cases.")
            )
        tried = [
            r for r in self.members if r.get("gradients")
        ]  # what is decided wrongly before any step stays as it is
        falls = sum(_falls(r) for r in tried)
        if falls > len(tried) / 4:
            text = f"{self.name}: no step of the attack raised the loss in {falls} of {len(tried)} cases."
            found.append(Flag("loss falls", text))
        return found


def _victim_flags(probes: Sequence[Record]) -> list[Flag]:
    found = []
    if any(p["repeated"] > 1e-4 for p in probes):
        most = max(p["repeated"] for p in probes)
        text = f"two predictions of the same image differ by {most:.1%}: average over draws before attacking."
        found.append(Flag("randomised network", text))
    if any(p["train_mode"] for p in probes):
        found.append(
            Flag("train mode", "a part of the network stays in train mode when the network is put into eval mode.")
        )
    poor = sum(p["gradient_gain"] <= p["noise_gain"] for p in probes)
    if poor > len(probes) / 2:
        text = f"a step along the gradient raises the loss no more than noise does, in {poor} of {len(probes)} cases."
        found.append(Flag("gradient no better than noise", text))
    return found


def _control_flags(attacks: Sequence[_Row], white: Sequence[_Row]) -> list[Flag]:
    """Random noise, queries and transferred attacks know less than the gradient and must not do more damage."""
    found = []
    for control in attacks:
        if control in white:
            continue
        for row in white:
            same = row.first["eps"] == control.first["eps"] and row.first["norm"] == control.first["norm"]
            if same and (control.damage or 0) > (row.damage or 0) + MARGIN:
                text = f"{control.name} does more damage ({control.damage:.3f}) than {row.name} ({row.damage:.3f})."
                found.append(Flag("a weaker attack does more damage", text))
    return found


def _growth_flags(white: Sequence[_Row]) -> list[Flag]:
    """More radius and more steps must not do less damage."""
    found = []
    for by, fixed, name in (
        ("eps", "steps", "less damage with more radius"),
        ("steps", "eps", "less damage with more steps"),
    ):
        series: dict[tuple[Any, ...], list[_Row]] = {}
        for row in white:
            if row.first["setting"] != PAPER:
                key = tuple(row.first.get(n) for n in ("attack", "loss", "alpha", "norm", fixed))
                series.setdefault(key, []).append(row)
        for members in series.values():
            ordered = sorted(members, key=lambda row: row.first[by] or 0)
            for less, more in pairwise(ordered):
                if less.first[by] != more.first[by] and (more.damage or 0) < (less.damage or 0) - MARGIN:
                    found.append(
                        Flag(name, f"{more.name}: damage {more.damage:.3f}, but {less.damage:.3f} for {less.name}.")
                    )
    return found


def _falls(record: Record) -> bool:
    loss = [v for v in (record.get("history") or {}).get("loss", []) if v is not None]
    return len(loss) > 1 and max(loss[1:]) <= loss[0]


def _flat(prediction: Any) -> Tensor:
    """All values of a prediction, a tensor or a dictionary or list of them, in one vector."""
    return torch.cat(list(_tensors(prediction)))


def _tensors(prediction: Any) -> Iterator[Tensor]:
    if isinstance(prediction, Tensor):
        yield prediction.detach().flatten().float()
    elif isinstance(prediction, (Mapping, list, tuple)):  # a detector's sizes, beside its maps, are numbers: no values
        for part in prediction.values() if isinstance(prediction, Mapping) else prediction:
            yield from _tensors(part)
