"""Rows added to a preset and picked out of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from monai_smia.attacks import PGD, DeepFool
from monai_smia.evaluation import paper_comparison
from monai_smia.evaluation.chosen import chosen_plan, chosen_rows
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


def test_rows_and_settings_by_their_names() -> None:
    whole = paper_comparison([0.1, 0.2])
    assert chosen_rows(whole) == whole
    for named in ({"rows": "SMIA", "settings": "paper"}, {"rows": ["SMIA"], "settings": ("paper",)}):
        found = chosen_rows(whole, **named)  # type: ignore[arg-type]
        assert [(row.name, row.setting) for row in found] == [("SMIA", "paper")] * 2
    assert [row.name for row in chosen_rows(whole, settings="")] == ["Clean"]


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"rows": ["SMIA", "Nix"]}, r"^rows must name some of \['Clean', .*\], got 'Nix'\.$"),
        ({"rows": "smia"}, "^rows must name some of .*, got 'smia'"),
        ({"rows": "SMI"}, "got 'SMI'; did you mean SMIA?"),  # no part of a name is one
        ({"rows": 5}, "got 5"),
        ({"rows": [["SMIA"]]}, r"got \['SMIA'\]"),
        (
            {"settings": ["equal radious"]},
            "^settings must name .*got 'equal radious'; did you mean equal radius",
        ),
        ({"settings": "equal"}, "got 'equal'"),
        (
            {"rows": "Clean", "settings": "paper"},
            "^rows and settings must leave a row .*, got 'Clean' and 'paper'",
        ),
        ({"rows": []}, r"must leave a row of the plan, got \[\] and None"),
    ],
)
def test_a_row_or_setting_that_is_none_is_named(named: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        chosen_rows(paper_comparison(0.1), **named)


def test_volumes_are_of_a_segmentation() -> None:
    with pytest.raises(ValueError, match="volumes are of a segmentation, and this is a detection"):
        plan("detection", volumes=["up"])
    rows = [row for row in plan(volumes=["down"], only=["APGD"]) if row.loss == "volume_down"]
    assert [(row.eps, row.attack.steps) for row in rows] == [(0.1, 20), (0.2, 20)]  # type: ignore[union-attr]
