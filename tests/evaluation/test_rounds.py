"""Plans whose gradients are doubled until the headline stands still."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation.test_runner import evaluation, write_case

from monai_smia.attacks import BIM
from monai_smia.evaluation import AttackEvaluation, PlannedAttack
from monai_smia.evaluation.errors import FailedCasesError

RADII = {"slow": 20.0, "still": 2.0}  # HU; the second is too small for any damage


def plan(eps: float, steps: tuple[int, ...] = (1, 2, 4)) -> list[PlannedAttack]:
    """BIM in rounds; with steps of an eighth of the radius every further one does more."""
    attacks = [BIM(eps=eps, steps=n, step_size=eps / 8, clip=(-1024.0, 3071.0)) for n in steps]
    rows = [PlannedAttack(attack, eps / 1400, f"round {number}") for number, attack in enumerate(attacks, 1)]
    return [PlannedAttack(), *rows]


def of_cases(folder: Path, **options: Any) -> AttackEvaluation:
    cases = [write_case(folder, name) for name in ("first", "second")]
    return evaluation(cases, folder / "out", storage=None, **options)


def settings(summary: dict[str, Any]) -> list[str]:
    return [row["setting"] for row in summary["rows"]]


def report(folder: Path) -> str:
    """Its text, with lines that are broken anywhere made one."""
    return " ".join(html.unescape((folder / "out" / "report.html").read_text()).split())


def test_no_further_round_where_the_headline_stands_still(tmp_path: Path) -> None:
    evaluate = of_cases(tmp_path, attacks=plan(RADII["still"]))
    summary = evaluate.run()
    assert settings(summary) == ["", "round 1", "round 2"]
    (radius,) = summary["headline"]["radii"]
    assert radius["converged"] is True
    assert [(each["round"], each["gradients"]) for each in radius["rounds"]] == [(1, 1.0), (2, 2.0)]
    spec = json.loads((tmp_path / "out" / "spec.json").read_text())
    assert [row["row"]["setting"] for row in spec["rows"]] == ["", "round 1", "round 2"]  # what was run
    first, second = (each["attacked"] for each in radius["rounds"])
    told = f"moved what a radius' own attacks leave by {first - second:.3f} (tolerance 0.005)."
    assert told in report(tmp_path)
    assert first - second < 0.005
    before = (tmp_path / "out" / "records.jsonl").read_bytes()
    assert evaluate.run() == summary
    assert (tmp_path / "out" / "records.jsonl").read_bytes() == before  # nothing was computed again


def test_every_round_while_it_moves(tmp_path: Path) -> None:
    evaluate = of_cases(tmp_path, attacks=plan(eps=120.0, steps=(2, 4, 8)))
    summary = evaluate.run()
    assert settings(summary) == ["", "round 1", "round 2", "round 3"]
    (radius,) = summary["headline"]["radii"]
    values = [each["attacked"] for each in radius["rounds"]]
    assert values[0] > values[1] > values[2] == radius["attacked"]
    assert values[1] - values[2] > 0.005
    assert radius["converged"] is False
    told = f"the attacks leave at 120 HU (eps 0.0857143) by {values[1] - values[2]:.3f} (tolerance 0.005): give more."
    assert told in report(tmp_path)


def test_a_wider_tolerance_ends_it_earlier_and_a_narrower_one_goes_on(tmp_path: Path) -> None:
    wide = of_cases(tmp_path, attacks=plan(eps=120.0, steps=(2, 4, 8)), tolerance=1.0)
    assert settings(wide.run()) == ["", "round 1", "round 2"]
    narrow = of_cases(tmp_path, attacks=plan(eps=120.0, steps=(2, 4, 8)))
    summary = narrow.run()  # of the same folder: the third round alone is computed
    assert settings(summary) == ["", "round 1", "round 2", "round 3"]
    runs = {row.split('"key": "')[1].split('"')[0]: json.loads(row)["run"] for row in journal(tmp_path)}
    assert [runs[slug] for slug in sorted(runs)] == [1, 1, 2, 1]  # bim round 1, 2, 3, clean


def journal(folder: Path) -> list[str]:
    return (folder / "out" / "journal" / "rank0.jsonl").read_text().splitlines()


def test_the_tolerance_is_checked(tmp_path: Path) -> None:
    for value in (-0.1, float("nan"), "0.1"):
        with pytest.raises(ValueError, match=r"^tolerance must be a finite number >= 0, got "):
            of_cases(tmp_path, tolerance=value)


def test_a_case_that_fails_in_a_round_counts_in_none(tmp_path: Path) -> None:
    """And it is not tried again in the rounds that follow."""

    def without_label(image: np.ndarray, label: np.ndarray) -> None:
        image[0, 0, 0] = np.nan

    cases = [write_case(tmp_path, "good"), write_case(tmp_path, "bad", without_label)]
    evaluate = evaluation(cases, tmp_path / "out", storage=None, attacks=plan(eps=120.0, steps=(2, 4, 8)))
    with pytest.raises(FailedCasesError, match="1 of 2 cases failed: bad"):
        evaluate.run()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert settings(summary) == ["", "round 1", "round 2", "round 3"]
    assert {row["cases"] for row in summary["rows"]} == {1}
    lines = [json.loads(line) for line in journal(tmp_path)]
    assert sum(line["case"] == "bad" for line in lines) == 1
