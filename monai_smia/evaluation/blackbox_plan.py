"""The plan of a test of a black box: attacks that ask for answers alone, and no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai_smia.attacks import DecisionSearch, Noise, RayS, Square
from monai_smia.checks import check_number
from monai_smia.evaluation.plan import PlannedAttack, in_input_unit, radii_of
from monai_smia.records.rows import EQUAL_RADIUS

QUERIES = 200
LOSSES = {"segmentation": "soft_jaccard", "classification": "margin", "regression": "soft_beyond"}
TASKS = tuple(LOSSES)
SEARCHES: dict[str, Any] = {"segmentation": DecisionSearch, "classification": RayS}


def blackbox_plan(
    task: str,
    eps: float | Sequence[float],
    *,
    unit_scale: float = 1.0,
    queries: int = QUERIES,
    clip: tuple[float, float] | None = (0.0, 1.0),
    seed: int = 0,
    scores: bool = True,
) -> list[PlannedAttack]:
    """Clean images, noise, and attacks of so many queries at every radius: Square, and one that asks for decisions.

    Square asks for scores where there are any (score-based in the words of NIST AI 100-2), else for decisions.
    `DecisionSearch` of segmentations and `RayS` of classifications always ask for decisions (decision-based).

    Args:
        task: ``"segmentation"``, ``"classification"`` or ``"regression"``, which has no attack by decisions.
        eps: radius in network units, or several.
        unit_scale: network units per unit of the images.
        queries: of every attack and case.
        clip: valid range of the images, or None.
        seed: of all attacks.
        scores: whether the victim answers with scores.

    Raises:
        ValueError: if the task is another, or an argument is outside its range.

    Example:
        >>> [row.name for row in blackbox_plan("segmentation", 70.0, clip=None)]
        ['Clean', 'Noise', 'Square', 'DecisionSearch']
    """
    check_number("queries", queries, whole=True, least=1)
    if task not in TASKS:
        raise ValueError(f"the preset 'blackbox' is of segmentations, classifications and regressions, got {task!r}.")
    shared: dict[str, Any] = {"clip": clip, "seed": seed}
    plan = [PlannedAttack()]
    for radius in radii_of(eps):
        ball = in_input_unit(radius, unit_scale)
        loss = LOSSES[task] if scores or task != "segmentation" else "jaccard"
        attacks = [Noise(eps=ball, **shared), Square(eps=ball, queries=queries, loss=loss, progress=True, **shared)]
        if (search := SEARCHES.get(task)) is not None:
            attacks.append(search(eps=ball, queries=queries, progress=True, **shared))
        plan += [PlannedAttack(attack, radius, EQUAL_RADIUS) for attack in attacks]
    return plan
