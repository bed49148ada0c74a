"""Flags at their thresholds: what is just allowed is not flagged, the least beyond it is."""

from __future__ import annotations

from typing import Any

import pytest
from record_helpers import group, record

from monai_smia.analysis.flags import flags_of
from monai_smia.analysis.summary import Group
from monai_smia.records import Flag, Probe

KEY: dict[str, Any] = {"setting": "equal radius", "eps": 0.1, "norm": "linf", "steps": 4}
LESS_RADIUS, LESS_STEPS = "less damage with more radius", "less damage with more steps"


def row(attack: str, *damages: float | None, **values: Any) -> Group:
    """A row of as many cases as damages; values that are lists have one for each of them."""
    records = []
    for number, damage in enumerate(damages):
        own = {name: value[number] if isinstance(value, list) else value for name, value in values.items()}
        records.append(record(attack, f"c{number}", damage=damage, **({} if attack == "Clean" else KEY) | own))
    return group(*records)


def names(*rows: Group) -> list[str]:
    return [flag.name for flag in flags_of(list(rows))]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_control_may_do_as_much_more_as_the_margin(norm: str) -> None:
    """Two hundredths of damage; compared are means over the cases that have one, at the same radius and norm."""
    bim = row("BIM", 0.0, 0.0, None, norm=norm)
    assert names(bim, row("Noise", 0.0, 0.04, norm=norm)) == []
    assert flags_of([bim, row("Noise", 0.0, 0.0401, norm=norm)]) == [
        Flag(
            "a weaker attack does more damage",
            f"Noise{' L2' if norm == 'l2' else ''} equal radius at 0.1 does more damage (0.020) than "
            f"BIM{' L2' if norm == 'l2' else ''} equal radius at 0.1 (0.000).",
        )
    ]
    assert names(bim, row("Noise", 0.9, 0.9, norm="l2" if norm == "linf" else "linf")) == []
    assert names(bim, row("Noise", None)) == []


def test_every_attack_is_compared_with_the_control_and_the_clean_row_is_none() -> None:
    clean, noise = row("Clean", 0.1, 0.1), row("Noise", 0.5, 0.5)
    assert names(clean, noise, row("BIM", 0.1, 0.1), row("PGD", 0.2, 0.2)) == 2 * ["a weaker attack does more damage"]
    assert names(noise, row("BIM", 0.9, 0.9, setting="", eps=0.1), row("BIM", 0.1, 0.1, eps=None)) == []


@pytest.mark.parametrize(("less", "more", "flag"), [({"eps": 0.05}, {}, LESS_RADIUS), ({}, {"steps": 8}, LESS_STEPS)])
def test_more_may_do_as_much_less_as_the_margin(less: dict[str, Any], more: dict[str, Any], flag: str) -> None:
    first = row("BIM", 0.02, **less)
    assert names(first, row("BIM", 0.0, **more)) == []
    first = row("BIM", 0.0201, **less)
    assert names(first, row("BIM", 0.0, **more)) == [flag]
    assert names(row("BIM", 0.0, **more), first) == [flag]  # in whichever order they stand
    assert names(row("BIM", 0.0, **more), first, row("BIM", 0.0, **more, alpha=1.0)) == [flag]
    for other in ({"loss": "margin"}, {"alpha": 0.5}, {"norm": "l2"}, {"setting": "paper"}):
        assert names(first, row("BIM", 0.0, **{**more, **other})) == []
    assert names(first, row("PGD", 0.0, **more)) == []
    assert names(first, row("Square", 0.0, gradients=0, **more)) == []  # asks for no gradient


def test_rows_of_one_radius_and_steps_are_no_series() -> None:
    """Two rows of one attack in two settings: neither has more of anything."""
    assert names(row("BIM", 0.5), row("BIM", 0.1, setting="iterations")) == []
    three = [row("BIM", damage, eps=eps) for damage, eps in ((0.5, 0.1), (0.3, 0.2), (0.1, 0.3))]
    assert names(*three) == 2 * [LESS_RADIUS]
    assert names(row("BIM", 0.1, eps=None), row("BIM", 0.5, eps=0.1)) == []
    assert names(row("BIM", 0.5, eps=None), row("BIM", 0.1, eps=0.1)) == [LESS_RADIUS]


def test_the_search_for_a_critical_radius_does_as_little_as_it_may() -> None:
    search = row("CriticalRadius", 0.1, setting="critical radius", zero_gradient_steps=2)
    assert names(row("Noise", 0.5), search) == []


def test_steps_without_a_gradient_are_counted_by_case() -> None:
    (flag,) = flags_of([row("BIM", 0.5, 0.5, 0.5, zero_gradient_steps=[1, 0, 3])])
    assert flag == Flag("zero gradients", "BIM equal radius at 0.1: steps without any gradient in 2 of 3 cases.")
    assert names(row("BIM", 0.5, zero_gradient_steps=None)) == []
    assert names(row("Noise", 0.5, zero_gradient_steps=4)) == []
    (flag,) = flags_of([row("APGD", 1.0, 0.5, loss="found", zero_gradient_steps=[1, 1])])
    assert "in 1 of 2 cases" in flag.text  # where every object is missed this loss has nothing left to ascend
    for given in ({"loss": "ranking"}, {"missed": [1.0, 1.0], "loss": "found"}):
        damages = (1.0, 1.0) if given["loss"] == "ranking" else (0.9, 0.0)
        (flag,) = flags_of([row("APGD", *damages, zero_gradient_steps=[1, 1], **given)])
        assert "in 2 of 2 cases" in flag.text


def test_an_attack_that_stopped_early_broke_nothing() -> None:
    early: dict[str, Any] = {"planned_gradients": 4}
    assert names(row("BIM", 0.5, gradients=4, **early)) == []
    assert names(row("BIM", 1.0, gradients=1, **early)) == []
    assert names(row("BIM", 0.99, gradients=3, **early)) == ["stopped early"]
    assert names(row("BIM", 0.0, 1.0, gradients=None, **early)) == ["stopped early"]
    assert names(row("BIM", None, 1.0, gradients=[3, 3], **early)) == ["stopped early"]
    assert names(row("BIM", 0.5, gradients=0, planned_gradients=None)) == []
    for none in (0, None):
        assert names(row("BIM", 0.5, gradients=none, planned_gradients=1)) == ["stopped early"]
    for name in ("DeepFool", "DAG"):  # these end where the decision changes
        assert names(row(name, 0.5, gradients=1, **early)) == []
    assert names(row("BIM", 1.0, gradients=1, clean_damage=1.0, **early)) == []


def test_a_loss_that_no_step_raised_in_more_than_a_quarter_of_the_cases() -> None:
    falls, rises = {"loss": [1.0, None, 1.0, 0.5]}, {"loss": [1.0, 0.5, 1.1]}
    told: dict[str, Any] = {"gradients": 4}
    assert names(row("BIM", *[0.5] * 4, history=[falls, rises, rises, rises], **told)) == []
    (flag,) = flags_of([row("BIM", *[0.5] * 4, history=[falls, falls, rises, rises], **told)])
    assert flag.text == "BIM equal radius at 0.1: no step of the attack raised the loss in 2 of 4 cases."
    assert names(row("BIM", 0.5, history={"loss": [1.0, 1.5, 1.2]}, **told)) == []
    assert names(row("BIM", 0.5, history={"loss": [1.0, None]}, **told)) == []
    assert names(row("BIM", 0.5, history={"loss": [1.0, 1.0]}, **told)) == ["loss falls"]
    assert names(row("BIM", 0.5, **told)) == []  # without a history nothing is said
    wrong = {"clean_damage": [1.0, 0.0, 0.0], "history": [falls, rises, rises], **told}
    assert names(row("BIM", 1.0, 0.5, 0.5, **wrong)) == []  # a case that is wrong when clean may stay as it is


def test_the_least_agreement_of_twin_and_pipeline_counts() -> None:
    assert names(row("Clean", 0.0, 0.0, agreement=[1.0, 0.995])) == []
    (flag,) = flags_of([row("Clean", 0.0, 0.0, agreement=[1.0, 0.9949]), row("BIM", 0.5, 0.5)])
    assert flag.name == "approximate gradients"
    assert "agree on 99.5% of a clean case at worst" in flag.text


def probed(*probes: Probe) -> list[Flag]:
    return flags_of([row("Clean", *[0.0] * len(probes), probe=list(probes))])


def test_probes_of_the_victim() -> None:
    sound = Probe(train_mode=False, repeated=1e-4, gradient_gain=1.0, noise_gain=0.5)
    poor = Probe(train_mode=False, repeated=0.0, gradient_gain=0.5, noise_gain=0.5)
    assert probed(sound, poor) == []
    assert [flag.text for flag in probed(sound, poor, poor)] == [
        "a step along the gradient raises the loss no more than noise does, in 2 of 3 cases."
    ]
    (flag,) = probed(sound, Probe(train_mode=False, repeated=0.25, gradient_gain=1.0, noise_gain=0.5))
    assert flag.name == "randomised network"
    assert "differ by 25.0%" in flag.text
    assert [flag.name for flag in probed(sound, Probe(True, 0.0, 1.0, 0.5))] == ["train mode"]


def of_round(attack: str, number: int, damage: float, loss: str | None = None) -> Any:
    return group(record(attack, loss=loss, damage=damage, eps=0.1, norm="linf", setting=f"round {number}"))


def test_queries_of_a_late_round_are_not_held_against_gradients_of_an_early_one() -> None:
    rows = [of_round("APGD", 1, 0.1), of_round("Square", 1, 0.3), of_round("APGD", 2, 0.5), of_round("Square", 2, 0.3)]
    assert flags_of(rows) == []
    told = [flag.text for flag in flags_of([*rows[:3], of_round("Square", 2, 0.6)])]
    assert told == ["Square round 2 at 0.1 does more damage (0.600) than APGD round 2 at 0.1 (0.500)."]


def test_a_weak_member_beside_a_strong_one_is_no_sign_of_a_hidden_gradient() -> None:
    noise = group(record("Noise", damage=0.3, eps=0.1, norm="linf", setting="equal radius"))
    rows = [noise, of_round("DAG", 1, 0.1), of_round("APGD", 1, 0.5)]
    assert flags_of(rows) == []
    assert len(flags_of([noise, of_round("DAG", 1, 0.1), of_round("APGD", 1, 0.2)])) == 1


def test_early_rounds_have_no_flags_of_their_own() -> None:
    early = group(record("APGD", damage=0.1, eps=0.1, norm="linf", setting="round 1", gradients=1, planned_gradients=5))
    assert flags_of([early, of_round("APGD", 2, 0.5)]) == []
    assert [flag.name for flag in flags_of([early])] == ["stopped early"]
