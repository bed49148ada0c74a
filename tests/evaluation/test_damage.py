"""What records and report say of damage, sizes, patients and data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation.test_runner import evaluation, write_case

from monai_smia.attacks import BIM
from monai_smia.degradations import Smooth
from monai_smia.evaluation import PlannedAttack


def test_what_rounds_to_nothing_is_counted_whatever_the_radius(tmp_path: Path) -> None:
    """The radius is 70 HU, and a single step of 0.4 HU is taken: the file holds nothing of it."""
    attack = BIM(eps=70.0, steps=1, step_size=0.4, clip=(-1024.0, 3071.0), progress=False)
    plan = [PlannedAttack(), PlannedAttack(attack, 0.05, "equal radius")]
    clean, computed, stored = evaluation([write_case(tmp_path, "a")], tmp_path / "out", attacks=plan).run()["rows"]
    assert computed["linf"] == pytest.approx(0.4, abs=1e-3)
    assert (stored["below_quantization"], stored["linf"], stored["jaccard"]) == (1, None, clean["jaccard"])
    assert "all of its changes rounded to nothing" in (tmp_path / "out" / "report.html").read_text()


def test_every_record_holds_clean_attack_and_added_damage(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    attack = BIM(eps=70.0, steps=2, clip=(-1024.0, 3071.0), progress=False)
    plan = [PlannedAttack(), PlannedAttack(attack, 0.05, "equal radius")]
    options: dict[str, Any] = {"attacks": plan, "survival": {"smoothed": Smooth(1.0)}}
    evaluation([case], tmp_path / "out", attacks=plan[:1], survival=options["survival"]).run()
    evaluation([case], tmp_path / "out", **options).run()  # resumed after the clean row
    records = {(r["attack"], r["stage"]): r for r in map(json.loads, (tmp_path / "out" / "records.jsonl").open())}
    clean = records["Clean", "computed"]["damage"]
    assert 0 < clean < 0.3
    for (attack_name, stage), found in records.items():
        assert found["damage"] == pytest.approx(1 - found["jaccard"])
        if stage in ("computed", "stored"):
            assert found["clean_damage"] == clean
            assert found["added_damage"] == pytest.approx(found["damage"] - clean)
            assert (found["added_damage"] > 0.3) is (attack_name == "BIM")


def test_frozen_voxels_are_counted_and_said(tmp_path: Path) -> None:
    def pad(image: np.ndarray, label: np.ndarray) -> None:
        image[:1] = -2048

    cases = [write_case(tmp_path, "padded", pad), write_case(tmp_path, "whole")]
    evaluation(cases, tmp_path / "out").run()
    frozen = {
        r["case"]: r["frozen"] for r in map(json.loads, (tmp_path / "out" / "records.jsonl").open()) if "frozen" in r
    }
    assert frozen == {"padded": pytest.approx(1 / 14), "whole": 0.0}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "In 1 of 2 cases more than 0.1% of the voxels lie outside of the valid range" in page
    assert "7.14% at most, in padded." in page
    evaluation(cases[1:], tmp_path / "other").run()
    assert "outside of the valid range" not in (tmp_path / "other" / "report.html").read_text()


def test_cases_are_called_patients_where_the_data_say_so(tmp_path: Path) -> None:
    cases: list[Any] = [write_case(tmp_path, name) for name in "abc"]
    evaluation(cases, tmp_path / "cases").run()
    page = (tmp_path / "cases" / "report.html").read_text()
    assert "3 of 3 cases evaluated." in page
    assert "(3 cases)" in page
    assert "patient" not in page.replace("image of the patient", "")
    named = [{**case, "patient": "P1"} for case in cases]
    summary = evaluation(named, tmp_path / "patients").run()
    assert "(3 cases of 1 patient)" in (tmp_path / "patients" / "report.html").read_text()
    assert {row["patients"] for row in summary["rows"]} == {1}
    assert all(interval is None for row in summary["rows"] for interval in row["intervals"].values())


def test_synthetic_cases_and_another_model_are_said(tmp_path: Path) -> None:
    metadata = {"name": "Artefact model", "version": "1.0", "task": "artefacts", "intended_use": "artefacts alone"}
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    about = {"metadata": tmp_path / "metadata.json", "model": {"name": "Polyp model", "task": "polyps"}}
    cases: list[Any] = [{**write_case(tmp_path, "a"), "synthetic": True}, write_case(tmp_path, "b")]
    evaluation(cases, tmp_path / "out", about=about).run()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "1 of 2 cases are synthetic" in page
    assert "<h1>Robustness under attack: Polyp model</h1>" in page
    assert "rtefact" not in page
