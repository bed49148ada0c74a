"""What is no plan, as a command line or a config may give it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from monai_smia.attacks import PGD
from monai_smia.evaluation import paper_comparison, preset_plan, tables_plan
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.evaluation.presets import PRESETS

PLANS = [
    paper_comparison,
    partial(preset_plan, "paper", "segmentation"),
    partial(preset_plan, "quick", "segmentation"),
]
no_plan = pytest.mark.parametrize("plan", PLANS, ids=["comparison", "paper", "quick"])
tables_too = pytest.mark.parametrize("plan", [*PLANS, tables_plan], ids=["comparison", "paper", "quick", "tables"])


@pytest.mark.parametrize(
    ("eps", "radius"),
    [
        *[("8/255", 8 / 255), ("8 / 255", 8 / 255), ("8/255/2", 4 / 255), ("[8/255]", 8 / 255), (["8/255"], 8 / 255)],
        *[("0.05", 0.05), ("5e-2", 0.05)],
    ],
)
@tables_too
def test_a_radius_as_people_type_it(plan: Callable[..., Any], eps: str, radius: float) -> None:
    assert {row.eps for row in plan(eps)} == {row.eps for row in plan(radius)}


@no_plan
@pytest.mark.parametrize("eps", ["[1/255, 4/255]", "1/255,4/255", "(1/255, 4/255,)", ["1/255", "4/255"]])
def test_several_radii_as_people_type_them(eps: Any, plan: Callable[..., Any]) -> None:
    assert {row.eps for row in plan(eps)} == {row.eps for row in plan([1 / 255, 4 / 255])}


@no_plan
@pytest.mark.parametrize("eps", [[0.01, 0.01], [0.01, 0.05, "1/100"], "[0.01, 1/100]"])
def test_a_radius_that_is_there_twice(eps: Any, plan: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"^eps must hold every radius once, got more than once: \[0\.01\]\.$"):
        plan(eps)


@pytest.mark.parametrize("stop_at", [0, -1, 2, [1], True, "1"])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_damage_to_stop_at_is_one_in_every_preset(preset: str, stop_at: Any) -> None:
    with pytest.raises(ValueError, match=r"^stop_at must lie in \(0, 1\], or be None, got ") as told:
        preset_plan(preset, "classification", 0.01, stop_at=stop_at)
    assert str(told.value).endswith(f"got {stop_at!r}.")


@pytest.mark.parametrize("preset", ["quik", ["quick"], None, 1])
def test_a_preset_is_one_of_them(preset: Any) -> None:
    with pytest.raises(ValueError, match=r"^preset must be one of \('paper', 'quick', ") as told:
        preset_plan(preset, "classification", 0.01)
    assert f"got {preset!r}" in str(told.value)


@tables_too
@pytest.mark.parametrize("eps", [[], (), np.array([])])
def test_no_radius(eps: Any, plan: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"^eps must hold at least one radius, got "):
        plan(eps)


@tables_too
@pytest.mark.parametrize(
    "eps",
    [
        True,
        "abc",
        "8/0",
        "nan",
        "-1/255",
        "[1/255",
        "[]",
        "8//255",
        "[4/255, -1/255]",
        float("nan"),
        float("inf"),
        None,
        {},
        {"a": 1},
        [[0.05]],
        [0.05, None],
        [True],
        -0.1,
    ],
)
def test_what_is_no_radius(eps: Any, plan: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"^eps must be a finite number >= 0, or a list of such numbers, got ") as told:
        plan(eps)
    assert str(told.value).endswith(f"got {eps!r}.")


@no_plan
@pytest.mark.parametrize("eps", [[0.05, 0.1], (0.05, 0.1), np.array([0.05, 0.1])])
def test_radii_in_any_sequence(eps: Any, plan: Callable[..., Any]) -> None:
    assert {row.eps for row in plan(eps, steps=1) if row.name in ("BIM", "SMIA")} == {0.05, 0.1}


@no_plan
@pytest.mark.parametrize(
    ("name", "values", "allowed"),
    [
        ("steps", (None, "x", True, 2.5, -1, float("nan"), [2]), "a whole number >= 0"),
        ("alpha", (None, "nan", True, -1.0, float("nan"), float("inf"), [1.0]), "a finite number >= 0"),
        ("seed", (None, "x", True, 1.5, -1), "a whole number >= 0, or one per sample"),
    ],
)
def test_other_numbers(name: str, values: tuple[Any, ...], allowed: str, plan: Callable[..., Any]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=f"^{name} must be {allowed}, got ") as told:
            plan(0.05, **{name: value})
        assert str(told.value).endswith(f"got {value!r}.") or value != value


@pytest.mark.parametrize("gradients", [0, -1, 2.5, True, "x", float("nan"), [20]])
def test_gradients(gradients: Any) -> None:
    with pytest.raises(ValueError, match=r"^gradients must be None or a whole number >= 1, got ") as told:
        preset_plan("quick", "segmentation", 0.05, gradients=gradients)
    assert str(told.value).endswith(f"got {gradients!r}.")
    assert preset_plan("quick", "segmentation", 0.05, gradients=1)[3].key().steps == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eps": [0.05, 0.1]}, r"eps must be one radius, .* got \[0.05, 0.1\]"),
        ({"paper_eps": [0.05, 0.1]}, r"paper_eps must be one radius, .* got \[0.05, 0.1\]"),
        ({"paper_eps": -1}, r"paper_eps must be a finite number >= 0, .* got -1"),
        ({"steps": 2.5}, "steps must be a whole number >= 0, got 2.5"),
        ({"iterations": [5, "x"]}, "iterations must be a whole number >= 0, got 'x'"),
        ({"radii": [0.5, "x"]}, r"radii must be a finite number >= 0, .* got \[0.5, 'x'\]"),
        ({"radii": []}, r"radii must hold at least one radius, got \[\]"),
        ({"alphas": [0.5, "x"]}, "alpha must be a number, got 'x'"),
    ],
)
def test_no_plan_of_the_papers_tables(arguments: dict[str, Any], message: str) -> None:
    assert tables_plan([0.05], steps=2)[2].eps == 0.05
    with pytest.raises(ValueError, match=f"^{message}"):
        tables_plan(**{"eps": 0.05, **arguments})


CT = {"unit_scale": 1 / 1400, "clip": (-1024.0, 3071.0)}


@tables_too
@pytest.mark.parametrize(
    ("eps", "options"), [(5, CT), (2.93, CT), (1.01, {}), (4, {"unit_scale": 1 / 255, "clip": (0.0, 255.0)})]
)
def test_a_radius_wider_than_all_that_an_image_can_be_is_refused(
    eps: float, options: dict[str, Any], plan: Callable[..., Any]
) -> None:
    """Grey levels or HU typed where network units are meant: 5 of them are 7000 HU."""
    with pytest.raises(
        ValueError, match=rf"eps must be a radius within the valid range .* got {eps:g} in network units"
    ):
        plan(eps, **options)


@no_plan
@pytest.mark.parametrize(("eps", "options"), [(2.92, CT), (1, {}), (5, {"clip": None})])
def test_the_widest_radius_and_any_without_a_range(
    eps: float, options: dict[str, Any], plan: Callable[..., Any]
) -> None:
    assert {row.eps for row in plan(eps, **{"steps": 1, **options}) if row.name in ("BIM", "SMIA")} == {eps}


def test_the_papers_own_ball_and_other_norms_are_no_bound_of_a_voxel() -> None:
    assert PlannedAttack(PGD(eps=5.0), 5.0, "paper").eps == 5.0
    assert PlannedAttack(PGD(eps=5.0, norm="l2"), 5.0, "equal radius").eps == 5.0
