"""Shifts over all cases: what draws say of all draws, gaps by hand, and errors relative to a reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from record_helpers import group, record

from monai_smia.analysis.shifts import kept_by, relative_corruption_error, shift_gaps
from monai_smia.records import Primary
from monai_smia.records.shift import ShiftGap


@pytest.mark.parametrize(("draws", "spared"), [(59, 0), (92, 0), (93, 1), (124, 2), (20, 0)])
def test_draws_say_what_they_say(draws: int, spared: int) -> None:
    values = [0.5 + n / 1000 for n in range(draws)]
    value, share = kept_by(values[::-1])
    assert value == values[spared]
    assert share == pytest.approx(0.95 if draws >= 59 else 0.05 ** (1 / draws))
    damage, _ = kept_by(values, higher_is_better=False)
    assert damage == values[-1 - spared]


@pytest.mark.parametrize("draws", [20, 59, 100, 200])
@pytest.mark.parametrize("name", ["uniform", "two values", "heavy"])
def test_the_confidence_is_held_whatever_the_distribution(draws: int, name: str) -> None:
    """In 2,000 experiments: how often the share that was promised really keeps the value."""
    generator = np.random.default_rng(draws)
    uniform = generator.random((2000, draws))
    make = {"uniform": lambda u: u, "two values": lambda u: (u > 0.04) * 1.0, "heavy": lambda u: -((1 - u) ** -2.0)}[
        name
    ]
    shape = np.sort(make(np.linspace(0, 1, 200_001)[1:-1]))
    held = 0
    for row in make(uniform):
        value, share = kept_by(row.tolist())
        assert value is not None
        assert share is not None
        held += 1 - np.searchsorted(shape, value, side="left") / len(shape) >= share - 1e-4
    assert held / 2000 >= 0.95 - 0.015  # three standard errors
    if name == "uniform" and draws == 59:
        assert held / 2000 <= 0.97  # and no more careful than it must be: 1 - .95 ** 59 = .9515


@pytest.mark.parametrize("values", [[], [0.9, None], [None]])
def test_what_is_undefined_says_nothing(values: list[Any]) -> None:
    assert kept_by(values) == (None, None)


def shifted(case: str, worst: float, draws: list[float], **more: Any) -> Any:
    own = {"jaccard": worst, "average_jaccard": sum(draws) / len(draws), "draw_values": draws, "severity": 3}
    told = {"told": f"rotation of {case}", "setting": "shift, severity 3", "gradients": 8}
    return record("RigidMotion", case, **{**own, **told, **more})


def test_a_gap_by_hand() -> None:
    rows = group(
        shifted("a", 0.6, [0.9, 0.8], volume_change_lung=-12.0, average_volume_change_lung=-2.0),
        shifted("b", 0.4, [0.7, 0.7], volume_change_lung=-4.0, average_volume_change_lung=-1.0),
    )
    clean = [record("Clean", "a", jaccard=0.95), record("Clean", "b", jaccard=0.85)]
    (gap,) = shift_gaps([rows], Primary("jaccard", True), clean)
    assert (gap.shift, gap.severity, gap.every_value, gap.metric, gap.draws) == ("RigidMotion", 3, False, "jaccard", 2)
    assert (gap.clean, gap.average, gap.worst) == pytest.approx((0.9, 0.775, 0.5))
    assert gap.gap == pytest.approx(0.275)
    assert gap.drop == pytest.approx(0.125)
    assert gap.relative_drop == pytest.approx(0.125 / 0.9)
    assert (gap.case, gap.lowest, gap.told, gap.gradients) == ("b", 0.4, "rotation of b", 8.0)
    assert gap.kept == 0.7
    assert gap.kept_share == pytest.approx(0.05**0.5)
    assert gap.changes == {"volume_change_lung": [-1.5, -8.0]}


def test_of_damage_more_is_worse_and_all_values_are_a_proof() -> None:
    own = {"damage": 0.4, "clean_damage": 0.1, "average_damage": 0.2, "draw_values": [0.4, 0.0], "severity": 2}
    row = group(record("HUOffset", "a", setting="every value, severity 2", told="offset 7 HU", **own))
    (gap,) = shift_gaps([row], Primary("map50", True))
    assert (gap.metric, gap.higher_is_better, gap.every_value) == ("damage", False, True)
    assert (gap.clean, gap.gap, gap.drop, gap.kept) == (0.1, pytest.approx(0.2), pytest.approx(0.1), None)
    assert gap.relative_drop == pytest.approx(0.1 / 0.9)


def gap(shift: str, severity: int, clean: float | None, average: float) -> ShiftGap:
    told = (average, None, None, 1, 1, 20, None, None, None, "", "", "")
    return ShiftGap(shift, severity, False, "jaccard", True, clean, average, *told)


def test_relative_corruption_error_by_hand() -> None:
    """Means over shifts of ratios of sums over severities."""
    ours = [gap("Dose", 1, 0.9, 0.8), gap("Dose", 2, 0.9, 0.7), gap("Blur", 1, 0.9, 0.9)]
    theirs = [gap("Dose", 1, 0.95, 0.85), gap("Dose", 2, 0.95, 0.45), gap("Blur", 1, 0.95, 0.75)]
    assert relative_corruption_error(ours, theirs) == pytest.approx((0.3 / 0.6 + 0.0 / 0.2) / 2)
    assert relative_corruption_error(ours, ours[:2]) is None
    assert relative_corruption_error([gap("Dose", 1, None, 0.8)], theirs) is None
    assert relative_corruption_error(ours, [gap("Dose", 1, 0.9, 0.95), gap("Dose", 2, 0.9, 0.9), ours[2]]) is None
