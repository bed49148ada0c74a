"""The headline where little is known: stages, rounds, counts and ties, every field by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from record_helpers import record

from monai_smia.analysis import groups_of, headline_of, summarize
from monai_smia.analysis.headline import has_converged
from monai_smia.metrics import means
from monai_smia.records import Primary, Record
from monai_smia.records.summary import AfterRound, AtRadius, Headline

KEY: dict[str, Any] = {"setting": "equal radius", "eps": 0.1, "eps_input": 10.0, "norm": "linf"}
JACCARD = Primary("jaccard", True)


def found_share(values: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """A metric over cases alone, unknown of fewer than two."""
    known = [value["damage"] < 0.5 for value in values if value["damage"] is not None]
    return {"share": sum(known) / len(known) if len(known) > 1 else None}


def rows_of(attack: str, *values: float | None, metric: str = "jaccard", stage: str = "computed", **key: Any) -> Any:
    key = key if attack == "Clean" else KEY | key
    return [record(attack, f"c{i}", stage, **{metric: value}, **key) for i, value in enumerate(values)]


def headline(told: list[Record], primary: Primary = JACCARD, summary: Any = means, **options: Any) -> Headline:
    rows = summarize(told, summary, with_intervals=True)
    found = headline_of(groups_of(told), rows, primary, **options)
    assert found is not None
    return found


def test_every_field_of_a_metric_of_cases() -> None:
    told = rows_of("Clean", 0.9, None) + rows_of("Noise", 0.8, 0.6) + rows_of("BIM", 0.8, 0.6)
    told += rows_of("BIM", 0.1, 0.1, stage="stored") + rows_of("Clean", 0.2, 0.2, stage="after smooth")
    told += rows_of("Square", 0.8, 0.6, knowledge="black box")
    found = headline(told)
    named = ["BIM, equal radius, eps 0.1", "Square, equal radius, eps 0.1"]
    assert (found.clean, found.clean_cases, found.clean_patients, found.higher_is_better) == (0.9, 1, 1, True)
    assert found.radii == [
        AtRadius(
            0.1, 10.0, "linf", noise=pytest.approx(0.7), attacked=pytest.approx(0.7), interval=None, cases=2,
            patients=2, attacks=named, by=["Noise, equal radius, eps 0.1", *named], listed=[0.8, 0.6],
        )
    ]  # fmt: skip


def test_nobody_is_named_where_nothing_was_broken() -> None:
    damages = {"damage": 0.5, "clean_damage": 0.5, "added_damage": 0.0}
    told = rows_of("Clean", 0.5) + [record("BIM", "c0", jaccard=0.5, **damages, **KEY)]
    assert headline(told).radii[0].by == []
    assert headline([record("BIM", "c0", jaccard=0.5, **{**damages, "added_damage": 0.1}, **KEY)]).radii[0].by == [
        "BIM, equal radius, eps 0.1"
    ]


def test_without_clean_images_the_figure_stands_alone() -> None:
    found = headline(rows_of("BIM", 0.1))
    assert (found.clean, found.clean_cases, found.clean_patients) == (None, 0, 0)
    assert found.radii[0].noise is None
    assert not has_converged(found)
    assert not has_converged(None)


def test_a_radius_of_another_norm_is_another_one() -> None:
    told = rows_of("BIM", 0.4) + rows_of("Noise", 0.8, norm="l2") + rows_of("PGD", 0.2, norm="l2")
    told += rows_of("SMIA", 0.05, setting="paper") + rows_of("Search", 0.01, setting="critical radius", norm="l2")
    l2, linf = headline(told).radii
    assert (l2.norm, l2.noise, l2.attacked) == ("l2", 0.8, 0.01)
    assert l2.attacks == ["PGD L2, equal radius, eps 0.1", "Search L2, critical radius, eps 0.1"]
    assert l2.by == ["Search L2, critical radius, eps 0.1"]
    assert (linf.norm, linf.noise, linf.attacked, linf.attacks) == ("linf", None, 0.4, ["BIM, equal radius, eps 0.1"])


@pytest.mark.parametrize(("higher", "attacked"), [(True, 0.0), (False, 0.5)])
def test_every_field_of_a_metric_over_cases(higher: bool, attacked: float) -> None:
    told = rows_of("Clean", 0.0, 0.0, metric="damage")
    for attack, values in {"Noise": (0.9, 0.1), "BIM": (0.9, 0.8), "PGD": (0.6, 0.7), "FGSM": (0.9, 0.2)}.items():
        told += rows_of(attack, *values, metric="damage")
    told += rows_of("BIM", 0.1, 0.9, metric="damage", stage="stored")
    found = headline(told, Primary("share", higher), found_share)
    (radius,) = found.radii
    by = {0.0: ["BIM", "PGD"], 0.5: ["Noise", "FGSM"]}[attacked]
    assert (found.metric, found.by_case, found.clean, found.clean_cases) == ("share", False, 1.0, 2)
    assert (radius.attacked, radius.by) == (attacked, [f"{name}, equal radius, eps 0.1" for name in by])
    assert (radius.interval, radius.cases, radius.patients, radius.listed, radius.noise) == (None, 2, 2, [], 0.5)


def test_a_metric_over_cases_that_no_row_of_a_radius_has() -> None:
    """Of a single case the share is not known: of the larger radius what was done within the smaller one is said."""
    told = rows_of("Clean", 0.0, 0.0, metric="damage") + rows_of("BIM", 0.9, 0.8, metric="damage")
    told += rows_of("BIM", 0.9, metric="damage", eps=0.2, eps_input=20.0)
    small, large = headline(told, Primary("share", True), found_share).radii
    assert (small.attacked, small.cases, small.patients) == (0.0, 2, 2)
    assert (large.attacked, large.interval, large.cases, large.patients) == (0.0, None, 2, 2)
    assert (large.by, large.listed, large.eps_input) == (small.by, [], 20.0)
    alone = told[:2] + told[4:]
    (large,) = headline(alone, Primary("share", True), found_share).radii
    assert (large.attacked, large.interval, large.cases, large.by, large.listed) == (None, None, 0, [], [])


def test_a_figure_of_a_smaller_radius_does_not_settle_a_larger_one() -> None:
    """At 0.2 the second round did more than the first, though PGD at 0.1 did more than both."""
    told = rows_of("Clean", 0.9, 0.9) + rows_of("PGD", 0.1, 0.1, setting="round 1")
    told += rows_of("PGD", 0.1, 0.1, setting="round 2")
    told += rows_of("BIM", 0.9, 0.9, setting="round 1", eps=0.2, eps_input=20.0)
    told += rows_of("BIM", 0.5, 0.5, setting="round 2", eps=0.2, eps_input=20.0)
    small, large = headline(told).radii
    assert (small.attacked, large.attacked) == (pytest.approx(0.1), pytest.approx(0.1))
    assert (small.converged, large.converged) == (True, False)
    assert large.moved == pytest.approx(0.4)


def test_a_search_counts_in_a_metric_over_cases_where_all_of_it_lies_within() -> None:
    told = rows_of("Clean", 0.0, 0.0, metric="damage") + rows_of("BIM", 0.1, 0.1, metric="damage")
    told += rows_of("Search", 0.9, 0.9, metric="damage", setting="critical radius")
    (radius,) = headline(told, Primary("share", True), found_share).radii
    assert (radius.attacked, radius.by) == (0.0, ["Search, critical radius, eps 0.1"])


def test_rounds_count_their_own_gradients_and_all_that_came_before() -> None:
    told = rows_of("Clean", 0.9, 0.9) + rows_of("SMIA", 0.6, 0.8, gradients=7)
    told += rows_of("APGD", 0.7, 0.7, setting="round 1", gradients=4) + rows_of("PGD", 0.5, 0.9, setting="round 1")
    told += rows_of("APGD", 0.4, 0.7, setting="round 2", gradients=8)
    told += rows_of("APGD", 0.1, 0.1, setting="round 2", gradients=64, eps=0.2, eps_input=20.0)
    told += rows_of("APGD", 0.3, 0.3, setting="round 2", gradients=32, norm="l2")
    l2, linf, large = headline(told).radii
    assert linf.rounds == [AfterRound(1, 4.0, pytest.approx(0.6)), AfterRound(2, 8.0, pytest.approx(0.55))]
    assert (linf.converged, linf.moved) == (False, pytest.approx(0.05))
    assert l2.rounds == [AfterRound(1, 0, None), AfterRound(2, 32.0, pytest.approx(0.3))]
    assert large.rounds == [AfterRound(1, 0, None), AfterRound(2, 64.0, pytest.approx(0.1))]
    assert (l2.converged, l2.moved) == (False, None)


def test_a_single_round_has_not_converged_and_the_tolerance_is_met_below_it() -> None:
    one = rows_of("APGD", 0.5, setting="round 1", gradients=4)
    assert (headline(one).radii[0].converged, has_converged(headline(one))) == (None, False)
    both = [*one, *rows_of("APGD", 0.25, setting="round 2", gradients=8)]
    assert not has_converged(headline(both, tolerance=0.25))  # moved by just so much
    found = headline(both, tolerance=0.26)
    assert (has_converged(found), found.tolerance) == (True, 0.26)


def test_a_metric_over_cases_in_rounds() -> None:
    told = rows_of("APGD", 0.9, 0.1, metric="damage", setting="round 1")
    told += rows_of("APGD", 0.9, 0.9, metric="damage", setting="round 2")
    (radius,) = headline(told, Primary("share", True), found_share).radii
    assert [each.attacked for each in radius.rounds] == [0.5, 0.0]
