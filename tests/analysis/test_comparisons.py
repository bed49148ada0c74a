"""Comparisons on records whose outcome is known by hand."""

from __future__ import annotations

import pytest
from record_helpers import group, record

from monai_smia.analysis.comparisons import differences, every_case, extremes, strata_of, worst_cases
from monai_smia.analysis.summary import Group
from monai_smia.records import Primary

JACCARD = Primary("jaccard", True)


def row(attack: str, values: dict[str, float | None], stage: str = "computed", **key: object) -> Group:
    """One record per case; the patient is the first letter of the case's name."""
    defaults = {} if attack == "Clean" else {"setting": "equal radius", "eps": 0.1, "eps_input": 10.0, "norm": "linf"}
    return group(
        *(
            record(attack, case, stage, patient=case[0], strata={"kernel": case[0]}, jaccard=value, **defaults | key)
            for case, value in values.items()
        )
    )


GROUPS = [
    row("Clean", {"a": 0.9, "b": 0.8}),
    row("BIM", {"a": 0.5, "b": 0.7}),
    row("BIM", {"a": 0.1, "b": 0.1}, stage="stored"),
    row("SMIA", {"a": 0.6, "b": 0.2}),
    row("SMIA", {"a": 0.1, "b": 0.3}, setting="paper"),
    row("BIM", {"a": 0.4, "b": None}, eps=0.2, eps_input=20.0),
]


def test_the_worst_case_is_taken_within_every_radius() -> None:
    small, large = worst_cases(GROUPS, JACCARD)
    assert (small.eps, small.eps_input, small.norm, small.cases) == (0.1, 10.0, "linf", 2)
    assert small.mean == pytest.approx((0.1 + 0.2) / 2)
    assert small.won == {"BIM, equal radius, eps 0.1": 0, "SMIA, equal radius, eps 0.1": 1, "SMIA, paper, eps 0.1": 1}
    assert (large.mean, large.cases) == (0.4, 1)
    assert large.interval is None  # of one patient


def test_every_case_under_the_worst_attack_of_the_smallest_radius() -> None:
    cases = every_case(GROUPS, JACCARD)
    assert [(c.case, c.clean, c.worst, c.by) for c in cases] == [
        ("a", 0.9, 0.1, "SMIA, paper, eps 0.1"),
        ("b", 0.8, 0.2, "SMIA, equal radius, eps 0.1"),
    ]
    assert [c.difference for c in cases] == [pytest.approx(-0.8), pytest.approx(-0.6)]
    assert [(s.value, s.clean, s.worst) for s in strata_of(cases)] == [("a", 0.9, 0.1), ("b", 0.8, 0.2)]
    damage = Primary("jaccard", False)  # where less is better, the highest is the worst
    assert [(c.case, c.worst) for c in every_case(GROUPS, damage)] == [("b", 0.7), ("a", 0.6)]


def test_differences_to_clean_and_to_smia_of_the_radius() -> None:
    found = {(d.row, d.minus): d.difference for d in differences(GROUPS, "jaccard")}
    smia = "SMIA, equal radius, eps 0.1"
    assert found == {
        ("BIM, equal radius, eps 0.1", "Clean"): pytest.approx(-0.25),
        ("BIM, equal radius, eps 0.1", smia): pytest.approx(0.2),
        (smia, "Clean"): pytest.approx(-0.45),
        ("SMIA, paper, eps 0.1", "Clean"): pytest.approx(-0.65),
        ("BIM, equal radius, eps 0.2", "Clean"): pytest.approx(-0.5),
    }


def test_extremes_of_every_attack() -> None:
    found = {e.slug: (e.worst.case, e.best.case) for e in extremes(GROUPS, JACCARD)}
    assert found["bim_equal-radius_eps0.1"] == ("a", "b")
    assert found["smia_equal-radius_eps0.1"] == ("b", "a")
    assert found["bim_equal-radius_eps0.2"] == ("a", "a")
    assert "clean" not in found
