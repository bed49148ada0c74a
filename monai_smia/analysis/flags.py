"""Flags that say when a result should not be trusted: a network that seems robust because its gradient is hidden.

After Carlini et al., On Evaluating Adversarial Robustness (2019), and the flags of AutoAttack (Croce and Hein, 2020). A
flag says that a figure may be too good, never that it is good; a result without any is not proven either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from monai_smia.analysis.radii import computed
from monai_smia.analysis.summary import Group, without_earlier_rounds
from monai_smia.attacks.lower_precision import UNRESOLVED
from monai_smia.records import Flag, Probe, Record, RowKey
from monai_smia.records.rows import CRITICAL_RADIUS, WHITE_BOX

MARGIN = 0.02  # of damage: differences below are not worth a flag
AGREEMENT = 0.995  # of the twin with the pipeline on a clean case
ENDS_EARLY = ("DeepFool", "DAG")  # these end where the decision changes
FOUND = "found"  # a loss that ends where nothing is found
HELD_BACK = ("LowFrequency", "Universal", "VAFA")  # of few forms alone: noise may do more damage


def flags_of(groups: Sequence[Group]) -> list[Flag]:
    """The flags of an evaluation.

    Args:
        groups: records by row, as `monai_smia.analysis.summary.groups_of` gives them.

    Returns:
        Every flag; empty where there is none.
    """
    rows = computed(groups)
    probes = [record.probe for group in rows for record in group.records if record.probe is not None]
    attacks = [g for g in rows if not g.row.is_clean and _damage(g) is not None]
    low = [flag for group in without_earlier_rounds(attacks) for flag in _precision_flags(_Row(group))]
    attacks = [g for g in attacks if g.row.setting != CRITICAL_RADIUS]  # as little damage as it may
    white = [_Row(g) for g in attacks if g.row.knowledge == WHITE_BOX]
    late = [_Row(g) for g in without_earlier_rounds(attacks)]  # those are weak by intent
    found = [*_agreement_flags(rows), *_victim_flags(probes), *_control_flags(late), *_growth_flags(white)]
    for row in late:
        found += _row_flags(row) if row.key.knowledge == WHITE_BOX else []
    return found + low


class _Row:
    """One attack as the flags look at it."""

    def __init__(self, group: Group) -> None:
        self.key, self.records = group.row, group.records
        self.damage = _damage(group) or 0.0
        self.name = " ".join(part for part in (self.key.title, self.key.setting_label) if part)
        self.name += f" at {self.key.eps:g}" if self.key.eps is not None else ""


def _damage(group: Group) -> float | None:
    known = [record.metrics["damage"] for record in group.records if record.number("damage") is not None]
    return float(np.mean(known)) if known else None


def _row_flags(row: _Row) -> list[Flag]:
    """Of this row alone, in cases that it could break: one that is wrong when clean may stay as it is.

    Where every object is missed, the loss that counts those found has nothing left to ascend.
    """
    records = [record for record in row.records if not record.wrong_when_clean]
    total, found = len(records), []
    done = [row.key.loss == FOUND and record.number("damage") == 1 for record in records]
    zero = sum(bool(r.costs.zero_gradient_steps) and not end for r, end in zip(records, done, strict=True))
    if zero:
        found.append(Flag("zero gradients", f"{row.name}: steps without any gradient in {zero} of {total} cases."))
    early = sum(_stopped_early(record) for record in records)
    if early and row.key.attack not in ENDS_EARLY:
        found.append(Flag("stopped early", f"{row.name}: fewer gradients than planned in {early} of {total} cases."))
    tried = [record for record in records if record.costs.gradients]
    falls = sum(_falls(record) for record in tried)
    if falls > len(tried) / 4:
        text = f"{row.name}: no step of the attack raised the loss in {falls} of {len(tried)} cases."
        found.append(Flag("loss falls", text))
    return found


def _precision_flags(row: _Row) -> list[Flag]:
    """Of an attack in lower precision, in cases of which it left something."""
    left = [record for record in row.records if (record.number("damage") or 0.0) < 1]
    shares = [share for record in left if (share := record.number("unresolved")) is not None]
    lost = sum(share > UNRESOLVED for share in shares)
    if lost <= len(shares) / 2:
        return []
    text = f"{row.name}: autocast rounds over a quarter of the perturbation away in {lost} of {len(shares)} cases."
    return [Flag("low precision", text)]


def _agreement_flags(rows: Sequence[Group]) -> list[Flag]:
    """The victim that gradients come from must decide as the pipeline does that figures come from."""
    known = [record.metrics["agreement"] for g in rows for record in g.records if "agreement" in record.metrics]
    if not known or min(known) >= AGREEMENT:
        return []
    text = (
        f"gradients are approximate: the differentiable twin and the deployed pipeline agree on {min(known):.1%} of a "
        "clean case at worst, and a stronger attack may exist."
    )
    return [Flag("approximate gradients", text)]


def _victim_flags(probes: Sequence[Probe]) -> list[Flag]:
    found = []
    if any(probe.repeated > 1e-4 for probe in probes):
        most = max(probe.repeated for probe in probes)
        text = f"two predictions of the same image differ by {most:.1%}: average over draws before attacking."
        found.append(Flag("randomised network", text))
    if any(probe.train_mode for probe in probes):
        text = "a part of the network stays in train mode when the network is put into eval mode."
        found.append(Flag("train mode", text))
    poor = sum(probe.gradient_gain <= probe.noise_gain for probe in probes)
    if poor > len(probes) / 2:
        text = f"a step along the gradient raises the loss no more than noise does, in {poor} of {len(probes)} cases."
        found.append(Flag("gradient no better than noise", text))
    return found


def _control_flags(attacks: Sequence[_Row]) -> list[Flag]:
    """Random noise, queries and transferred attacks know less than the gradient and must not do more damage.

    Of the members of a plan in rounds, which complement each other, than the strongest.
    """
    found = []
    for control in attacks:
        if control.key.knowledge == WHITE_BOX:
            continue
        same = [row for row in attacks if (row.key.eps, row.key.norm) == (control.key.eps, control.key.norm)]
        white = [row for row in same if row.key.knowledge == WHITE_BOX and not _is_held_back(row.key)]
        members = sorted((row for row in white if row.key.round is not None), key=lambda row: row.damage)
        for row in [*(row for row in white if row.key.round is None), *members[-1:]]:
            if control.damage > row.damage + MARGIN:
                text = f"{control.name} does more damage ({control.damage:.3f}) than {row.name} ({row.damage:.3f})."
                found.append(Flag("a weaker attack does more damage", text))
    return found


def _is_held_back(key: RowKey) -> bool:
    """Whether an attack may not do all that its ball allows, by intent."""
    return key.attack.partition("(")[0] in HELD_BACK


def _growth_flags(white: Sequence[_Row]) -> list[Flag]:
    """More radius and more steps must not do less damage."""

    def eps(key: RowKey) -> float | None:
        return key.eps

    def steps(key: RowKey) -> float | None:
        return key.steps

    by_radius = _less_with_more(white, eps, steps, "less damage with more radius")
    return by_radius + _less_with_more(white, steps, eps, "less damage with more steps")


def _less_with_more(
    white: Sequence[_Row], by: Callable[[RowKey], Any], fixed: Callable[[RowKey], Any], name: str
) -> list[Flag]:
    series: dict[tuple[Any, ...], list[_Row]] = {}
    for row in white:
        if row.key.is_within:
            alike = (row.key.attack, row.key.loss, row.key.alpha, row.key.reading, row.key.norm, fixed(row.key))
            series.setdefault(alike, []).append(row)
    found = []
    for rows in series.values():
        for less, more in pairwise(sorted(rows, key=lambda row: by(row.key) or 0)):
            if by(less.key) != by(more.key) and more.damage < less.damage - MARGIN:
                text = f"{more.name}: damage {more.damage:.3f}, but {less.damage:.3f} for {less.name}."
                found.append(Flag(name, text))
    return found


def _stopped_early(record: Record) -> bool:
    costs = record.costs
    return (costs.gradients or 0) < (costs.planned_gradients or 0) and (record.number("damage") or 0) < 1


def _falls(record: Record) -> bool:
    loss = [value for value in (record.history or {}).get("loss", []) if value is not None]
    return len(loss) > 1 and max(loss[1:]) <= loss[0]
