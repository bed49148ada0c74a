"""Rows added to a preset and picked out of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from monai_smia.attacks import PGD, DeepFool
from monai_smia.evaluation.chosen import chosen_plan
from monai_smia.evaluation.plan import PlannedAttack

SHARED: dict[str, Any] = {"steps": 3, "alpha": 0.5, "seed": 4, "unit_scale": 0.01, "clip": (-9.0, 99.0)}


def plan(task: str = "segmentation", **options: Any) -> list[PlannedAttack]:
    return chosen_plan("quick", task, [0.1, 0.2], **SHARED, **options)


def test_all_of_a_preset() -> None:
    whole = plan()
    assert [row.name for row in whole[:5]] == ["Clean", "Noise", "SMIA", "Noise", "SMIA"]
    assert len(whole) == 1 + 4 + 2 * 2 * 4
    with_more = plan(extra=[partial(PGD, steps=7), partial(DeepFool, norm="linf")], volumes=["up"])
    added = [(row.name, row.loss, row.eps, row.setting) for row in with_more[len(whole) :]]
    assert added == [
        *(("APGD", "volume_up", eps, "equal radius") for eps in (0.1, 0.2)),
        *((name, None, eps, "equal radius") for eps in (0.1, 0.2) for name in ("PGD", "DeepFool")),
    ]
    last: Any = with_more[-2].attack
    assert (last.eps, last.steps, last.seed, last.clip) == (20.0, 7, 4, (-9.0, 99.0))


def test_attacks_by_their_names() -> None:
    """Of the preset, and those of the paper's comparison that it does not have."""
    found = [(row.name, row.setting, row.loss) for row in plan(only=["PGD", "SMIA"]) if row.eps == 0.1]
    assert found == [
        ("SMIA", "equal radius", None),
        ("PGD", "equal radius", None),
        ("PGD", "equal radius", "soft_jaccard"),
    ]
    assert [row.loss for row in plan("classification", only=["PGD"]) if row.eps == 0.1] == [None]
    assert plan(only=[])[0].attack is None
    assert len(plan(only=[])) == 1
    with pytest.raises(ValueError, match=r"only must name attacks of .*'SMIA'.* got \['PGB'\].*PGD"):
        plan(only=["PGB", "SMIA"])


def test_volumes_are_of_a_segmentation() -> None:
    with pytest.raises(ValueError, match="volumes are of a segmentation, and this is a detection"):
        plan("detection", volumes=["up"])
    rows = [row for row in plan(volumes=["down"], only=["APGD"]) if row.loss == "volume_down"]
    assert [(row.eps, row.attack.steps) for row in rows] == [(0.1, 20), (0.2, 20)]  # type: ignore[union-attr]
