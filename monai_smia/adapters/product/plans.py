"""What a product is asked: black-box attacks, or acquisition shifts, by answers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from monai_smia.adapters.product.kinds import Finding, Masks
from monai_smia.adapters.product.surrogates import transfers_from
from monai_smia.attacks import ShiftAttack
from monai_smia.evaluation.blackbox_plan import blackbox_plan
from monai_smia.evaluation.chosen import selected
from monai_smia.evaluation.plan import PlannedAttack, radii_of
from monai_smia.evaluation.shift_plan import shift_rows
from monai_smia.records.rows import EQUAL_RADIUS

PRESETS = ("blackbox", "shifts")
WANDERED = 8  # points around the worst draws of a shift, of at least as many draws
QUERY_ACCESS = "black box: query access alone (NIST AI 100-2), "
DECISIONS = f"{QUERY_ACCESS}decision-based: the final masks, no scores and no weights"
CLASSES = f"{QUERY_ACCESS}decision-based: the decided class, no scores and no weights"
SCORES = f"{QUERY_ACCESS}score-based: the number that the product answers with, no weights"
NOBODY = "; acquisition shifts: nobody attacks, the worst is searched by answers alone"


def knowledge_of(kind: Masks | Finding, preset: str) -> str:
    """What is known of a product, in the words of NIST AI 100-2."""
    known = SCORES if kind.scored else CLASSES if isinstance(kind, Finding) else DECISIONS
    return known + NOBODY if preset == "shifts" else known


def transferred(names: Sequence[str]) -> str:
    """What an attacker who transfers knows, in the words of NIST AI 100-2."""
    return f"; transfer: surrogates {', '.join(names)} are known, weights and all, the product by its answers alone"


def product_plan(
    preset: str,
    kind: Masks | Finding,
    eps: float | str | Sequence[float | str],
    *,
    queries: int,
    clip: tuple[float, float] | None,
    seed: int,
    shifts: Mapping[str, Any],
    only: Sequence[str] | None,
    surrogates: Mapping[str, Any],
) -> list[PlannedAttack]:
    """The rows of a preset.

    Args:
        preset: ``"blackbox"``, see `blackbox_plan`, or ``"shifts"``, see `shift_rows`.
        kind: of the answers.
        eps: radius in the unit of the images, or several; the preset ``"shifts"`` has none.
        queries: of every attack and case.
        clip: valid range of the images, or None.
        seed: of all attacks.
        shifts: arguments of `shift_rows`.
        only: attacks to run, by their names; None for all.
        surrogates: networks that attacks are made on and transferred from, by their names; None of one to come.

    Raises:
        ValueError: if an argument is outside its range, or a name is none of the plan's.
    """
    if surrogates and preset != "blackbox":
        raise ValueError("transfer and distil are of the preset 'blackbox'.")
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {PRESETS} for a product, of which nothing is known, got {preset!r}.")
    task = "classification" if isinstance(kind, Finding) else "segmentation"
    if preset == "blackbox":
        plan = blackbox_plan(task, radii_of(eps), queries=queries, clip=clip, seed=seed, scores=False)
        for radius in radii_of(eps):
            for name, surrogate in surrogates.items():
                shared: Any = {"eps": radius, "clip": clip, "seed": seed, "finding": isinstance(kind, Finding)}
                transfers = transfers_from(surrogate, name, **shared)
                plan += [PlannedAttack(transfer, radius, EQUAL_RADIUS) for transfer in transfers]
    else:
        steps = {"gradients": max(min(shifts["draws"], WANDERED), 1)} if isinstance(shifts.get("draws"), int) else {}
        rows = shift_rows(clip=clip, seed=seed, **{**steps, **shifts})
        plan = [PlannedAttack(), *(replace(row, attack=_asking(row.attack)) for row in rows)]
    return plan if only is None else selected(plan, only)


def _asking(attack: Any) -> Any:
    """The attack, which takes no gradient."""
    return replace(attack, method="random") if isinstance(attack, ShiftAttack) else attack
