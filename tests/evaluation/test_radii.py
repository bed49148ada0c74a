"""A radius that a case's own range does not hold is that case's failure, before anything of it is computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation.test_resume import quick
from evaluation.test_runner import LOAD, write_case

from monai_smia.attacks import BIM, FGSM, PGD, Noise
from monai_smia.evaluation import AttackEvaluation, PlannedAttack
from monai_smia.evaluation.cases import Case, check_radii
from monai_smia.evaluation.errors import FailedCasesError
from monai_smia.records.rows import PAPER

WIDE, NARROW = (-1024.0, 3071.0), (-700.0, -500.0)


def rows(eps: float, network: float, clip: Any = None) -> list[PlannedAttack]:
    shared: dict[str, Any] = {"eps": eps, "clip": clip, "progress": False}
    return [PlannedAttack(attack, network, "equal radius") for attack in (Noise(**shared), FGSM(**shared))]


def ranged(valid: Any) -> Any:
    """Loading, with a range of the case's own."""

    def load(item: Any) -> dict[str, Any]:
        return {**LOAD(item), "clip": valid}

    return load


def failures(evaluation: AttackEvaluation) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """What every case fails with, and the records of all that was computed."""
    with pytest.raises(FailedCasesError):
        evaluation.run()
    folder = Path(evaluation.output_dir)
    summary = json.loads((folder / "summary.json").read_text())
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return {f["case"]: f["reason"] for f in summary["failures"]}, [r for r in records if r["status"] == "ok"]


def test_the_case_fails_by_name_and_nothing_of_it_is_computed(tmp_path: Path) -> None:
    cases = [write_case(tmp_path, name) for name in "ab"]
    narrow = lambda item: ranged(NARROW if item["case"] == "a" else WIDE)(item)  # noqa: E731
    reasons, computed = failures(quick(cases, tmp_path / "out", loading=narrow, attacks=rows(700.0, 0.5)))
    assert list(reasons) == ["a", "b"]  # 700 is more than the values of the other one, too: from -650 to 0
    assert reasons["a"].startswith("ValueError: eps must be a radius within the valid range of this image's file")
    assert "from -700 to -500: at most 0.143." in reasons["a"]
    assert "of this image's values, got 0.5 in network units: 700" in reasons["b"]
    assert not computed


def test_the_others_go_on(tmp_path: Path) -> None:
    cases = [write_case(tmp_path, name) for name in "ab"]
    narrow = lambda item: ranged(NARROW if item["case"] == "a" else WIDE)(item)  # noqa: E731
    reasons, computed = failures(quick(cases, tmp_path / "out", loading=narrow, attacks=rows(210.0, 0.15)))
    assert list(reasons) == ["a"]
    assert {record["case"] for record in computed} == {"b"}


@pytest.mark.parametrize("eps", [650.0, 200.0])
def test_an_image_without_a_range_has_its_values(eps: float, tmp_path: Path) -> None:
    """Where nothing clips, the values and 0 bound what a radius can be meant as: here from about -645 to 0."""
    one = quick([write_case(tmp_path, "a")], tmp_path / "out", attacks=rows(eps, eps / 1400))
    if eps == 200.0:
        assert not one.run()["failures"]
        return
    reasons, computed = failures(one)
    assert "of this image's values, got 0.464286 in network units: 650 in theirs" in reasons["a"]
    assert not computed


@pytest.mark.parametrize(
    ("row", "refused"),
    [
        (PlannedAttack(BIM(eps=3000.0, step_size=150.0, clip=None), 2.1, PAPER), False),
        (PlannedAttack(BIM(eps=3000.0, step_size=300.0, clip=None), 2.1, PAPER), True),
        (PlannedAttack(PGD(eps=3000.0, norm="l2", clip=None), 2.1, "equal radius"), False),
        (PlannedAttack(Noise(eps=201.0, clip=None), 0.1, "equal radius"), True),
        (PlannedAttack(Noise(eps=200.0, clip=None), 0.1, "equal radius"), False),
        (PlannedAttack(), False),
    ],
    ids=["a paper's ball", "a paper's step", "L2", "noise", "noise at the edge", "clean"],
)
def test_which_rows_are_looked_at(row: PlannedAttack, refused: bool) -> None:
    case = Case("a", "a", torch.full((1, 1, 2, 2), 50.0), None, torch.ones(1, 1, 2, 2), clip=(0.0, 200.0))
    if refused:
        with pytest.raises(ValueError, match=r"from 0 to 200: at most "):
            check_radii([row], case)
    else:
        check_radii([row], case)


@pytest.mark.parametrize(("bits", "refused"), [(255.0, False), (65535.0, True)])
def test_of_a_deep_file_the_values_count(bits: float, refused: bool) -> None:
    """A dark picture of eight bits may be changed by more than it holds; 16 bits say nothing of an image of 0 to 50."""
    case = Case("a", "a", torch.full((1, 1, 2, 2), 50.0), None, torch.ones(1, 1, 2, 2), clip=(0.0, bits))
    row = PlannedAttack(FGSM(eps=60.0, clip=None), 0.3, "equal radius")
    if refused:
        with pytest.raises(ValueError, match=r"of this image's values, got 0\.3 in network units: 60 in theirs"):
            check_radii([row], case)
    else:
        check_radii([row], case)
