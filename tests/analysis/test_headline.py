from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pytest
from record_helpers import group, record

from monai_smia.analysis import groups_of, headline_of, summarize
from monai_smia.metrics import CaseMetrics
from monai_smia.records import Flag, Primary, Record
from monai_smia.records.summary import Headline
from monai_smia.report.html import headline_text

KEY: dict[str, Any] = {"setting": "equal radius", "eps_input": 10.0, "norm": "linf"}


def records() -> list[Record]:
    """Two cases, of which BIM breaks one and SMIA the other; noise breaks none."""
    found = [record("Clean", case, jaccard=0.9) for case in "ab"]
    for attack, values in (("Noise", (0.8, 0.8)), ("BIM", (0.1, 0.7)), ("SMIA", (0.6, 0.3))):
        found += [record(attack, case, jaccard=v, eps=0.1, **KEY) for case, v in zip("ab", values, strict=True)]
    return found


def test_the_worst_attack_of_every_case_beside_clean_and_noise() -> None:
    found = headline_of(groups_of(records()), summarize(records(), with_intervals=True), Primary("jaccard", True))
    assert found is not None
    (radius,) = found.radii
    assert (found.metric, found.clean, found.by_case) == ("jaccard", 0.9, True)
    assert (radius.eps, radius.eps_input, radius.norm, radius.noise, radius.cases) == (0.1, 10.0, "linf", 0.8, 2)
    assert radius.attacked == (0.1 + 0.3) / 2
    assert (radius.interval, radius.listed, radius.patients) == (None, [0.1, 0.3], 2)  # too few for an interval
    assert radius.by == ["BIM, equal radius, eps 0.1", "SMIA, equal radius, eps 0.1"]
    assert radius.attacks == radius.by


def found_share(values: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """A metric over cases alone, as average precision is."""
    return {"share": sum(value["damage"] < 0.5 for value in values) / len(values)}


def test_the_strongest_attack_where_the_metric_is_said_of_no_single_case() -> None:
    damaged = [record("Clean", case, damage=0.0) for case in "ab"]
    for attack, values in (("Noise", (0.0, 0.0)), ("BIM", (0.9, 0.1)), ("SMIA", (0.6, 0.7))):
        damaged += [record(attack, case, damage=v, eps=0.1, **KEY) for case, v in zip("ab", values, strict=True)]
    rows = summarize(damaged, found_share, with_intervals=True)
    found = headline_of(groups_of(damaged), rows, Primary("share", True))
    assert found is not None
    (radius,) = found.radii
    assert (found.metric, found.clean, found.by_case) == ("share", 1.0, False)
    assert (radius.noise, radius.attacked, radius.interval, radius.cases) == (1.0, 0.0, None, 2)
    assert radius.by == ["SMIA, equal radius, eps 0.1"]


def test_nothing_attacked() -> None:
    clean = [record("Clean", jaccard=0.9)]
    assert headline_of([group(*clean)], summarize(clean), Primary("jaccard", True)) is None


def test_the_papers_own_setting_is_not_in_it() -> None:
    """Its radius is that of all steps together: DAG's, which moved little, would read as the safer one."""
    found = records() + [record("DAG", case, jaccard=0.5, eps=0.5, **{**KEY, "setting": "paper"}) for case in "ab"]
    headline = headline_of(groups_of(found), summarize(found), Primary("jaccard", True))
    assert headline is not None
    assert [radius.eps for radius in headline.radii] == [0.1]


def test_a_larger_radius_is_never_safer() -> None:
    """DeepFool, alone at 0.2, leaves more than what others leave at 0.1."""
    found = records() + [record("DeepFool", case, jaccard=0.6, eps=0.2, **KEY) for case in "ab"]
    headline = headline_of(groups_of(found), summarize(found), Primary("jaccard", True))
    assert headline is not None
    small, large = headline.radii
    assert small.attacked is not None
    assert (large.attacked, large.by) == (small.attacked, small.by)
    assert large.attacks[0] == "DeepFool, equal radius, eps 0.2"
    assert set(small.by) < set(large.attacks)
    text = headline_text(headline, "")
    assert "at radius 0.2 " in text
    assert "under the only attack" not in text.split("at radius 0.2 ")[1]
    assert "eps 0.1" in text.split("at radius 0.2 ")[1]


def test_the_norm_and_the_numbers_stand_beside_the_figure() -> None:
    found = [record("Clean", case, jaccard=0.9, patient=p) for case, p in ("ax", "bx", "cy")]
    found += [record("PGD", r.case, jaccard=0.2, patient=r.patient, eps=2.0, **{**KEY, "norm": "l2"}) for r in found]
    text = headline_text(headline_of(groups_of(found), summarize(found), Primary("jaccard", True)), "HU", "patient")
    assert "0.900 on clean images (3 cases of 2 patients)" in text
    assert "at radius 10 HU (eps 2) in L2 0.200 (mean of 0.200, 0.200) under the only attack, PGD L2, " in text
    assert text.endswith("PGD L2, equal radius (3 cases of 2 patients).")


def test_several_that_are_alike_are_not_all_listed() -> None:
    found = [record("Clean", jaccard=0.9)]
    found += [record(name, jaccard=0.1, eps=0.1, **KEY) for name in ("FGSM", "BIM", "PGD")]
    text = headline_text(headline_of(groups_of(found), summarize(found), Primary("jaccard", True)), "")
    assert "under the worst of 3 attacks on every case, all of them alike (1 case)." in text


def in_rounds(*values: tuple[float, float]) -> list[Record]:
    """Two cases under APGD, in as many rounds as there are values; ten gradients in the first."""
    found = [record("Clean", case, jaccard=0.9) for case in "ab"]
    for number, pair in enumerate(values, 1):
        key = {**KEY, "setting": f"round {number}", "eps": 0.1, "gradients": 10 * 2 ** (number - 1)}
        found += [record("APGD", case, jaccard=v, **key) for case, v in zip("ab", pair, strict=True)]
    return found


def test_the_figure_after_every_round_is_the_worst_so_far_of_every_case() -> None:
    told = in_rounds((0.5, 0.7), (0.6, 0.4), (0.501, 0.396))
    found = headline_of(groups_of(told), summarize(told, with_intervals=True), Primary("jaccard", True))
    assert found is not None
    (radius,) = found.radii
    assert [(each.round, each.gradients) for each in radius.rounds] == [(1, 10.0), (2, 20.0), (3, 40.0)]
    assert [each.attacked for each in radius.rounds] == pytest.approx([0.6, 0.45, 0.448])
    assert radius.attacked == pytest.approx(0.448)
    assert (radius.converged, radius.moved) == (True, pytest.approx(0.002))
    assert Headline.from_json(asdict(found)) == found
    text = headline_text(found, "HU")
    assert "under the worst of 1 attack in 3 rounds on every case" in text
    assert text.endswith("moved what a radius' own attacks leave by 0.002 (tolerance 0.005).")


def test_flags_are_part_of_the_sentence() -> None:
    told = in_rounds((0.5, 0.7), (0.4, 0.4))
    found = headline_of(groups_of(told), summarize(told, with_intervals=True), Primary("jaccard", True))
    flags = [Flag("zero gradients", "seen"), Flag("loss falls", "seen"), Flag("zero gradients", "again")]
    assert headline_text(found, "HU", flags=flags).endswith(
        " moved what the attacks leave at 10 HU (eps 0.1) by 0.200 (tolerance 0.005): "
        "give more. Do not trust it as it stands, the network may be weaker: zero gradients, loss falls."
    )


def test_without_rounds_nothing_is_said_of_convergence() -> None:
    told = records()
    found = headline_of(groups_of(told), summarize(told), Primary("jaccard", True))
    assert found is not None
    assert (found.radii[0].rounds, found.radii[0].converged) == ([], None)
    assert "onverged" not in headline_text(found, "HU")


def test_damage_is_worse_with_more_of_it_though_metrics_of_ones_own_say_nothing() -> None:
    class Own(CaseMetrics):
        def case(self, victim: Any, prediction: Any, label: Any, image: Any) -> dict[str, Any]:
            return {}

    assert Primary.of(Own()) == Primary("damage", False)
    told = [record("Clean", case, damage=0.0) for case in "ab"]
    told += [record(a, c, damage=d, eps=0.1, **KEY) for a, d in (("BIM", 0.2), ("PGD", 0.7)) for c in "ab"]
    found = headline_of(groups_of(told), summarize(told), Primary.of(Own()))
    assert found is not None
    assert found.radii[0].attacked == pytest.approx(0.7)
