"""What a report says of model and data is true of what was attacked."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundles.shipped import CT, ENDOSCOPY, FUNDUS, Shipped
from PIL import Image

from monai_smia.evaluation.facts import spec_of
from monai_smia.records import EvaluationSpec


def spec(bundle: Shipped, *configs: str, **override: object) -> EvaluationSpec:
    evaluation = bundle.parser(*configs, **override).get_parsed_content("evaluation")
    return spec_of(
        evaluation.victim,
        evaluation.attacks,
        evaluation.metrics,
        unit=evaluation.unit,
        device=evaluation.device,
        about=evaluation.about,
        cases=evaluation.cases,
    )


def polyps(folder: Path) -> Path:
    Image.new("RGB", (256, 192), (150, 80, 60)).save(folder / "a.png")
    (folder / "labels.csv").write_text("file,split,class,x1,y1,x2,y2,patient\na.png,test,polyp,10,20,60,80,P1\n")
    return folder


def test_the_polyp_report_is_of_the_polyp_model(tmp_path: Path) -> None:
    options = {"dataset_dir": str(polyps(tmp_path)), "output_dir": str(tmp_path / "out")}
    found = spec(ENDOSCOPY, "attack_eval", **options)
    assert found.about.get("model") is None
    assert "olyp" in found.about["metadata"]["name"]
    assert "artefacts" not in found.about["metadata"]["task"] + found.about["metadata"]["intended_use"]
    assert "data" not in found.about  # these are frames of a patient
    assert found.sampled == "patient"


def test_the_report_of_artefacts_says_that_they_are_drawn(tmp_path: Path) -> None:
    found = spec(ENDOSCOPY, "attack_eval", "artefacts", output_dir=str(tmp_path))
    assert found.about["model"]["name"] == "Detection of drawn artefacts"
    assert "drawn" in found.about["model"]["task"]


def test_the_report_of_the_other_grader_is_its_own(tmp_path: Path) -> None:
    found = spec(FUNDUS, "attack_eval", "efficient", output_dir=str(tmp_path))
    assert "EfficientNet-Lite0" in found.about["model"]["name"]
    assert found.about["metadata"]["name"] == FUNDUS.metadata()["name"]


@pytest.mark.parametrize("bundle", [CT, FUNDUS, ENDOSCOPY], ids=lambda bundle: bundle.name)
def test_demo_data_say_that_they_are_synthetic(bundle: Shipped, tmp_path: Path) -> None:
    found = spec(bundle, "attack_eval", output_dir=str(tmp_path))
    assert "synthetic" in found.about["data"]
    assert found.about.get("model") is None
    assert found.about["metadata"]["name"] == bundle.metadata()["name"]
