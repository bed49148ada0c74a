from __future__ import annotations

from values import changeable


def test_what_is_handed_on_is_a_value() -> None:
    assert changeable("monai_smia.evaluation") == {
        "AttackEvaluation",
        "Case",
        "Pace",
        "Progress",
        "RowEvaluator",
        "ShiftRow",
        "Volumes",
        "Work",
    }
