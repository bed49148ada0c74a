"""Comparisons on records whose outcome is known by hand."""

from __future__ import annotations

from typing import Any

import pytest
from record_helpers import group, record

from monai_smia.analysis.comparisons import CaseValue, differences, every_case, extremes, strata_of, worst_cases
from monai_smia.analysis.runs import Run
from monai_smia.analysis.statistics import holm
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
    assert large.interval is None  # of two patients


def test_what_was_done_within_a_smaller_radius_was_done_within_a_larger_one() -> None:
    """Of b nothing is known at 0.2, and SMIA leaves 0.2 of it at 0.1; BIM's 0.4 of a is less than any at 0.1."""
    fair = [group for group in GROUPS if group.row.is_within]
    _, large = worst_cases(fair, JACCARD)
    assert (large.mean, large.cases) == (pytest.approx((0.4 + 0.2) / 2), 2)
    assert large.won == {"BIM, equal radius, eps 0.2": 1, "SMIA, equal radius, eps 0.1": 1}
    alike = [row("BIM", {"a": 0.4}), row("BIM", {"a": 0.4}, eps=0.2, eps_input=20.0)]
    assert [worst.won for worst in worst_cases(alike, JACCARD)][1] == {"BIM, equal radius, eps 0.2": 1}
    other_norm = row("BIM", {"a": 0.8}, eps=0.2, eps_input=20.0, norm="l2")
    assert [worst.mean for worst in worst_cases([alike[0], other_norm], JACCARD)] == [0.4, 0.8]


def test_a_search_for_the_critical_radius_counts_where_its_change_lies_within() -> None:
    """It left nothing of a with 8 of 10 HU and of b with 15: at 10 HU a is broken, at 20 HU both are."""
    key: dict[str, Any] = {"setting": "critical radius", "eps": 0.2, "eps_input": 20.0, "norm": "linf"}
    search = group(
        record("Search", "a", jaccard=0.0, linf=8.0, **key), record("Search", "b", jaccard=0.0, linf=15.0, **key)
    )
    held = [row("BIM", {"a": 0.9, "b": 0.8}, eps=eps, eps_input=100 * eps) for eps in (0.05, 0.1, 0.2)]
    means = [worst.mean for worst in worst_cases([*held, search], JACCARD)]
    assert means == [pytest.approx(0.85), pytest.approx(0.4), 0.0]
    assert [case.worst for case in every_case([held[1], search], JACCARD)] == [0.0, 0.8]
    rounded_up = group(record("Search", "a", jaccard=0.0, linf=20.001, **key))  # by the rounding of the image's numbers
    assert worst_cases([held[2], rounded_up], JACCARD)[0].mean == pytest.approx(0.4)
    assert worst_cases([held[1], rounded_up], JACCARD)[0].mean == pytest.approx(0.85)


def test_what_is_of_another_threat_is_not_mixed_with_smaller_radii() -> None:
    """A patch, and the SMIA paper's own setting, in which nothing projects."""
    held = row("BIM", {"a": 0.1})
    for setting in ("patch of 4 x 4", "paper"):
        other = row("PGD", {"a": 0.9}, setting=setting, eps=1.0, eps_input=100.0)
        assert [worst.mean for worst in worst_cases([held, other], JACCARD)] == [0.1, 0.9]
        larger = row("BIM", {"a": 0.5}, eps=2.0, eps_input=200.0)
        assert [worst.mean for worst in worst_cases([other, larger], JACCARD)] == [0.9, 0.5]


def test_every_case_under_the_worst_attack_of_the_smallest_radius() -> None:
    cases = every_case(GROUPS, JACCARD)
    assert [(c.case, c.clean, c.worst, c.by) for c in cases] == [
        ("a", 0.9, 0.1, ["SMIA, paper, eps 0.1"]),
        ("b", 0.8, 0.2, ["SMIA, equal radius, eps 0.1"]),
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
    found = {e.slug: (e.worst.case, e.best.case) for e in extremes(GROUPS, JACCARD) if e.worst and e.best}
    assert found["bim_equal-radius_eps0.1"] == ("a", "b")
    assert found["smia_equal-radius_eps0.1"] == ("b", "a")
    assert found["bim_equal-radius_eps0.2"] == ("a", "a")
    assert "clean" not in found


def classified(attack: str, damages: str, clean: str = "0010") -> Group:
    """Cases a to d by damage, c of them wrong when clean."""
    records = []
    for case, damage, before in zip("abcd", damages, clean, strict=True):
        values = {"damage": float(damage), "clean_damage": float(before), "added_damage": float(damage) - float(before)}
        key: dict[str, Any] = {} if attack == "Clean" else {"setting": "equal radius", "eps": 0.1, "norm": "linf"}
        records.append(record(attack, case, accuracy=1 - float(damage), **values, **key))
    return group(*records)


def test_what_was_wrong_when_clean_is_no_attacks_success() -> None:
    """Three attacks: noise breaks nothing, two others the same case; ties name all, and the mean is of all cases."""
    groups = [
        classified("Clean", "0010"),
        classified("Noise", "0010"),
        classified("BIM", "0110"),
        classified("PGD", "0111"),
    ]
    accuracy = Primary("accuracy", True)
    (worst,) = worst_cases(groups, accuracy)
    bim, noise, pgd = (f"{name}, equal radius, eps 0.1" for name in ("BIM", "Noise", "PGD"))
    assert worst.mean == 0.25
    assert worst.won == {noise: 0, bim: 1, pgd: 2}
    assert (worst.cases, worst.wrong_when_clean, worst.unbroken) == (4, 1, 1)
    cases = every_case(groups, accuracy)
    assert [(c.case, c.by, c.wrong_when_clean) for c in cases] == [
        ("b", [bim, pgd], False),
        ("d", [pgd], False),
        ("a", [], False),
        ("c", [], True),
    ]
    found = {e.row: (e.worst, e.best) for e in extremes(groups, accuracy)}
    assert found[noise] == (None, CaseValue("a", 1.0))
    assert found[bim] == (CaseValue("b", 0.0), CaseValue("a", 1.0))


def test_most_damaged_is_what_was_added() -> None:
    """0.6 to 0.1 is less than 0.95 to 0.3."""
    key: dict[str, Any] = {"setting": "equal radius", "eps": 0.1, "norm": "linf"}
    values = {"a": (0.4, 0.9), "b": (0.05, 0.7)}
    clean = [record("Clean", case, jaccard=1 - c, damage=c, clean_damage=c) for case, (c, _) in values.items()]
    bim = [
        record("BIM", case, jaccard=1 - d, damage=d, clean_damage=c, added_damage=d - c, **key)
        for case, (c, d) in values.items()
    ]
    groups = [group(*clean), group(*bim)]
    assert [case.case for case in every_case(groups, JACCARD)] == ["b", "a"]
    (extreme,) = extremes(groups, JACCARD)
    assert extreme.worst is not None
    assert extreme.best is not None
    assert (extreme.worst.case, extreme.best.case) == ("b", "a")


def test_rows_of_another_norm_are_not_subtracted() -> None:
    groups = [*GROUPS[:2], row("SMIA", {"a": 0.6, "b": 0.2}, norm="l2")]
    assert [d.minus for d in differences(groups, "jaccard")] == ["Clean", "Clean"]
    assert [e.row for e in extremes(groups, JACCARD)][-1] == "SMIA L2, equal radius, eps 0.1"


def test_differences_are_adjusted_for_all_of_the_table() -> None:
    names = "abcdefgh"
    noise = dict(zip(names, (0.01, -0.02, 0.03, 0.0, -0.01, 0.02, -0.03, 0.01), strict=True))
    clean = row("Clean", dict.fromkeys(names, 0.9))
    found = differences(
        [
            clean,
            row("BIM", {n: 0.5 + e for n, e in noise.items()}),
            row("SMIA", {n: 0.9 + e for n, e in noise.items()}),
        ],
        "jaccard",
    )
    p = {(d.row.split(",")[0], d.minus.split(",")[0]): (d.p, d.p_adjusted) for d in found}
    assert holm([pair[0] for pair in p.values()]) == [pair[1] for pair in p.values()]
    of_bim, of_smia = p["BIM", "Clean"], p["SMIA", "Clean"]
    assert of_bim[0] is not None
    assert of_smia[1] is not None
    assert of_bim[0] < 1e-6
    assert of_smia[1] > 0.5


def test_counts_of_wrong_and_of_unbroken_cases() -> None:
    groups = [classified("Clean", "0010"), classified("BIM", "1010")]
    (worst,) = worst_cases(groups, Primary("accuracy", True))
    assert (worst.wrong_when_clean, worst.unbroken, worst.patients, worst.listed) == (1, 2, 4, [0.0, 1.0, 0.0, 1.0])


def test_radii_come_from_the_smallest_to_the_largest_whatever_is_known_of_them() -> None:
    values = {"a": 0.5}
    rows = [
        row("BIM", values, eps=0.3, eps_input=None),
        row("DAG", values, eps=None, eps_input=None),
        row("BIM", values, eps=0.2, eps_input=30.0, norm="linf"),
        row("BIM", values, eps=0.2, eps_input=30.0, norm="l2"),
        row("BIM", values, eps=0.2, eps_input=30.0, norm=None),
        row("Search", values, eps=0.1, setting="critical radius"),
    ]
    found = [(each.eps, each.norm) for each in worst_cases(rows, JACCARD)]
    assert found == [(None, "linf"), (0.2, None), (0.2, "l2"), (0.2, "linf"), (0.3, "linf")]
    assert every_case([], JACCARD) == []


def test_without_clean_images_nothing_is_said_of_a_difference() -> None:
    (case,) = every_case([row("BIM", {"a": 0.5})], JACCARD)
    assert (case.clean, case.difference, case.worst, case.added_damage) == (None, None, 0.5, None)
    assert differences([row("BIM", {"a": 0.5})], "jaccard") == []
    (unknown,) = every_case([row("Clean", {"a": None}), row("BIM", {"a": 0.5})], JACCARD)
    assert (unknown.clean, unknown.difference) == (None, None)


def test_cases_without_added_damage_are_sorted_by_the_metric() -> None:
    key: dict[str, Any] = {"setting": "equal radius", "eps": 0.1, "norm": "linf"}
    told = [
        record("BIM", "a", jaccard=0.4, **key),
        record("BIM", "b", jaccard=0.3, added_damage=0.2, **key),
        record("BIM", "c", jaccard=0.2, added_damage=0.2, **key),
        record("BIM", "d", jaccard=None, added_damage=0.9, **key),
        record("BIM", "e", jaccard=0.1, clean_damage=1.0, damage=1.0, added_damage=0.0, **key),
    ]
    assert [case.case for case in every_case([group(*told)], JACCARD)] == ["c", "b", "a", "e"]
    assert [case.case for case in every_case([group(*told)], Primary("jaccard", False))] == ["a", "b", "c", "e"]
    (extreme,) = extremes([group(*told)], JACCARD)
    assert (extreme.worst, extreme.best) == (CaseValue("c", 0.2), CaseValue("a", 0.4))
    (lower,) = extremes([group(*told)], Primary("jaccard", False))
    assert (lower.worst, lower.best) == (CaseValue("a", 0.4), CaseValue("c", 0.2))


def test_ties_take_the_most_that_one_of_them_added() -> None:
    key: dict[str, Any] = {"setting": "equal radius", "eps": 0.1, "norm": "linf"}
    rows = [group(record(a, "a", jaccard=0.4, added_damage=d, **key)) for a, d in (("BIM", 0.0), ("PGD", 0.3))]
    (case,) = every_case([*rows, group(record("DAG", "a", jaccard=0.5, added_damage=0.8, **key))], JACCARD)
    assert (case.added_damage, case.by) == (0.3, ["PGD, equal radius, eps 0.1"])


def test_strata_of_one_value_say_nothing() -> None:
    told = {"a": {"kernel": "B30", "site": "X"}, "b": {"kernel": "B70", "site": "X"}, "c": {"kernel": "B30"}}
    key: dict[str, Any] = {"setting": "equal radius", "eps": 0.1, "norm": "linf"}
    clean = [record("Clean", case, jaccard=0.9) for case in "ab"]
    worst = {"a": 0.1, "b": 0.4, "c": 0.3}
    attacked = [record("BIM", case, strata=told[case], jaccard=value, **key) for case, value in worst.items()]
    found = strata_of(every_case([group(*clean), group(*attacked)], JACCARD))
    assert [(s.name, s.value, s.cases, s.clean, s.worst) for s in found] == [
        ("kernel", "B30", 2, 0.9, pytest.approx(0.2)),
        ("kernel", "B70", 1, 0.9, 0.4),
    ]


def test_gradients_of_two_runs_of_one_plan_are_alike_whatever_a_search_found() -> None:
    """In the first the search succeeds within 10 HU, and in the second with 15 alone: neither is of fewer gradients."""
    key: dict[str, Any] = {"setting": "critical radius", "eps": 0.2, "eps_input": 20.0, "norm": "linf"}
    own = group(
        record("BIM", "a", jaccard=0.9, gradients=5, setting="equal radius", eps=0.1, eps_input=10.0, norm="linf")
    )
    nothing: Any = None
    spent = []
    for size in (8.0, 15.0):
        search = group(record("Search", "a", jaccard=0.0, linf=size, gradients=40, **key))
        run = Run("a", nothing, nothing, [own, search])
        spent.append((run.gradients((10.0, "linf")), run.gradients()))
    assert spent == [(5.0, 45.0), (5.0, 45.0)]
