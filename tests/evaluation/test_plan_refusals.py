"""What is no plan, as a command line or a config may give it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from monai_smia.evaluation import paper_comparison, preset_plan

PLANS = [
    paper_comparison,
    partial(preset_plan, "paper", "segmentation"),
    partial(preset_plan, "quick", "segmentation"),
]
no_plan = pytest.mark.parametrize("plan", PLANS, ids=["comparison", "paper", "quick"])


@no_plan
@pytest.mark.parametrize("eps", [[], (), np.array([])])
def test_no_radius(eps: Any, plan: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"^eps must hold at least one radius, got "):
        plan(eps)


@no_plan
@pytest.mark.parametrize(
    "eps",
    [True, "abc", "0.05", "nan", float("nan"), float("inf"), None, {}, {"a": 1}, [[0.05]], [0.05, None], [True], -0.1],
)
def test_what_is_no_radius(eps: Any, plan: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"^eps must be a finite number >= 0, or a list of such numbers, got ") as told:
        plan(eps)
    assert str(told.value).endswith(f"got {eps!r}.")


@no_plan
@pytest.mark.parametrize("eps", [[0.05, 0.1], (0.05, 0.1), np.array([0.05, 0.1])])
def test_radii_in_any_sequence(eps: Any, plan: Callable[..., Any]) -> None:
    assert {row.eps for row in plan(eps, steps=1) if row.attack is not None} == {0.05, 0.1}


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
    assert preset_plan("quick", "segmentation", 0.05, gradients=1)[2].key().steps == 1
