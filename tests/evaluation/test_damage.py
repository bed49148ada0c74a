"""What records and report say of damage, sizes, patients and data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation.test_runner import evaluation, write_case
from evaluation.test_tasks import CentreVictim, Distance, run
from helpers import network

from monai_smia.attacks import BIM, PGD, Ensemble, Noise
from monai_smia.degradations import Smooth
from monai_smia.evaluation import AttackEvaluation, PlannedAttack
from monai_smia.metrics import ClassificationMetrics
from monai_smia.victims import ClassificationVictim


def test_what_rounds_to_nothing_is_counted_whatever_the_radius(tmp_path: Path) -> None:
    """The radius is 70 HU, and a single step of 0.4 HU is taken: the file holds nothing of it."""
    attack = BIM(eps=70.0, steps=1, step_size=0.4, clip=(-1024.0, 3071.0), progress=False)
    plan = [PlannedAttack(), PlannedAttack(attack, 0.05, "equal radius")]
    clean, computed, stored = evaluation([write_case(tmp_path, "a")], tmp_path / "out", attacks=plan).run()["rows"]
    assert computed["linf"] == pytest.approx(0.4, abs=1e-3)
    assert (stored["below_quantization"], stored["linf"], stored["jaccard"]) == (1, None, clean["jaccard"])
    assert "all of its changes rounded to nothing" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("radius", "precision", "low"), [(0.05, "bfloat16", True), (70.0, "bfloat16", False), (0.05, None, False)]
)
@pytest.mark.filterwarnings("ignore:autocast=")
def test_what_the_precision_of_an_attack_rounds_away_is_counted_and_flagged(
    tmp_path: Path, radius: float, precision: str | None, low: bool
) -> None:
    attack = BIM(eps=radius, steps=2, clip=(-1024.0, 3071.0), autocast=precision, progress=False)
    plan = [PlannedAttack(), PlannedAttack(attack, 0.05, "equal radius")]
    summary = evaluation([write_case(tmp_path, "a")], tmp_path / "out", attacks=plan).run()
    found, stored = (summary["rows"][place].get("unresolved") for place in (1, 2))
    assert stored == (None if low else found)  # a file that holds nothing of the change has no sizes
    assert (found is None) is (precision is None)
    assert found is None or (found > 0.9 if low else found < 0.05)
    assert ("low precision" in {flag["name"] for flag in summary["flags"]}) is low
    page = (tmp_path / "out" / "report.html").read_text()
    assert ("autocast rounds over a quarter" in page) is low
    assert ("<td>bfloat16" in page) is (precision is not None)  # what the attack was allowed


def test_an_attack_of_which_a_part_has_a_lower_precision_is_called_so(tmp_path: Path) -> None:
    common: dict[str, Any] = {"eps": 70.0, "steps": 1, "clip": (-1024.0, 3071.0), "progress": False}
    low, full = BIM(autocast="bfloat16", **common), BIM(**common)
    attacks = {"both": Ensemble([low, full]), "low": Ensemble([low, low]), "full": Ensemble([full, full])}
    plan = [PlannedAttack(), *(PlannedAttack(attack, 0.05, name) for name, attack in attacks.items())]
    evaluation([write_case(tmp_path, "a")], tmp_path / "out", attacks=plan).run()
    told = json.loads((tmp_path / "out" / "report.json").read_text())["attacks"]
    assert [row["precision"] for row in told] == ["bfloat16 in part", "bfloat16", None]


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


def photographs(folder: Path, wrong: int, count: int = 6) -> Any:
    """Pictures whose grade is the network's own decision, but for the last ones, which are wrong when clean."""
    victim = ClassificationVictim(network("classification", 2).eval())
    images = {f"{i}.png": torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(count)}
    decided = {name: int(victim.decide(victim.infer(image[None]))[0]) for name, image in images.items()}
    cases = [
        {"case": str(i), "image": name, "label": (decided[name] + (i >= count - wrong)) % 3}
        for i, name in enumerate(images)
    ]
    options: dict[str, Any] = {"progress": False, "steps": 3}
    attacks = [Noise(eps=0.02, progress=False), BIM(eps=0.02, **options), PGD(eps=0.02, **options)]
    return AttackEvaluation(
        cases=cases,
        loading=lambda item: {"image": images[item["image"]], "label": item["label"]},
        victim=victim,
        attacks=[PlannedAttack(), *(PlannedAttack(attack, 0.02, "equal radius") for attack in attacks)],
        metrics=ClassificationMetrics(3),
        output_dir=folder,
        figure=mark,
        figures=0,
        progress=False,
    )


def mark(path: Path, *args: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"picture")


def test_what_was_wrong_when_clean_is_in_no_worst_by_and_no_picture(tmp_path: Path) -> None:
    photographs(tmp_path, wrong=2).run()
    content = json.loads((tmp_path / "report.json").read_text())
    (worst,) = content["worst_case"]
    assert worst["wrong_when_clean"] == 2
    assert worst["won"]["Noise, equal radius, eps 0.02"] == 0
    broken = {case["case"] for case in content["cases"] if case["by"]}
    assert broken
    assert broken <= {"0", "1", "2", "3"}
    for row in content["damage"]:
        assert row["clean"] == pytest.approx(2 / 6)
        assert row["wrong_when_clean"] == 2
        assert row["added"] == pytest.approx(row["attacked"] - row["clean"])
    for extreme in content["extremes"]:
        assert extreme["worst"] is None or extreme["worst"]["case"] in broken
    worst_of = {e["row"].split(",")[0]: e["worst"] for e in content["extremes"]}
    assert worst_of["Noise"] is None
    assert worst_of["BIM"] is not None
    assert {path.name.split("_")[0] for path in (tmp_path / "figures").glob("*")} <= {"0", "1", "2", "3"}
    page = (tmp_path / "report.html").read_text()
    assert "wrong when clean" in page
    assert page.count("<figcaption>worst case: ") == sum(e["worst"] is not None for e in content["extremes"])


def test_a_metric_over_cases_alone_has_clean_damage_too(tmp_path: Path) -> None:
    """As average precision, which is said of no single case: cases and strata are judged by damage, clean and after."""
    truth = {"boxes": [[2.5, 0.0, 4.5, 8.0]], "labels": [0]}
    run(tmp_path, CentreVictim(), Distance(), [{"case": "a", "image": "a.png", "label": truth}])
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").open()]
    assert all(record["clean_damage"] is not None and record["damage"] is not None for record in records)
    (case,) = json.loads((tmp_path / "report.json").read_text())["cases"]
    assert (case["clean"], case["wrong_when_clean"]) == (records[0]["damage"], records[0]["damage"] == 1)
