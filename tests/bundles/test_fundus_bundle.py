"""The fundus grading bundle: complete, loadable, accurate enough to be worth attacking, and attacked in grey levels."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles.shipped import FUNDUS
from monai.bundle import ConfigWorkflow
from monai.transforms import Compose
from PIL import Image
from torch import Tensor

from monai_smia.evaluation import PlannedAttack
from monai_smia.targets.fundus import fundus_datalist, write_fundus_phantoms
from monai_smia.transforms import LoadPhotograph
from monai_smia.victims.preprocessing import FrozenPreprocessing


def workflow(name: str, output_dir: Path, **override: Any) -> ConfigWorkflow:
    run_id = name if name == "attack_eval" else "run"
    return FUNDUS.workflow(name, run_id=run_id, output_dir=str(output_dir), **override)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A healthy eye and a sick one."""
    return write_fundus_phantoms(tmp_path_factory.mktemp("eyes"), 1, grades=[0, 3], size=256, seed=77)


def test_the_attack_lives_in_the_photograph(eyes: Path, tmp_path: Path) -> None:
    """Rows and radii of the plan; files that obey them; what a radius below one grey level leaves."""
    options = {"datalist": fundus_datalist(eyes)[1:], "preset": "paper", "steps": 1, "eps": [5e-5, 4 / 255]}
    options["write_volumes"] = "all"
    flow = workflow("attack_eval", tmp_path, **options)
    plan: list[PlannedAttack] = flow.parser.get_parsed_content("attacks")
    equal = ["Noise", "FGSM", "BIM", "MIFGSM", "PGD", "DeepFool", "SMIA"]
    paper = ["BIM", "PGD", "DeepFool", "SMIA"]  # DeepFool has no radius there, and stands once
    assert [row.name for row in plan] == ["Clean", *equal, *paper, *equal, "BIM", "PGD", "SMIA"]
    low, high = ([eps] * 8 + [2 * eps] for eps in (0.01275, 4.0))
    expected = [*low, 255.0, low[0], *high, high[0]]
    assert [row.attack.eps for row in plan[1:] if row.attack] == pytest.approx(expected)
    flow.run()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert {row["unit"] for row in summary["rows"]} == {"grey levels"}
    stored = [row for row in summary["rows"] if row["stage"] == "stored"]
    assert len(stored) == 21
    clean = summary["rows"][0]
    for row in stored:
        below = row["eps"] < 1 / 255
        erased = below or row["attack"] == "DeepFool"  # which ends at a fifth of a grey level here
        left = (row["linf"], row.get("below_quantization"), row.get("unchanged"))
        assert left == (None, 1, 1) if erased else row["linf"] <= row["eps_input"], row
        assert below or row["attack"] != "Noise" or row["linf"] == 4
        assert not below or row["accuracy"] == clean["accuracy"]
    assert {"accuracy_low", "accuracy_high", "accuracy_4"} <= clean.keys()
    page = (tmp_path / "report.html").read_text()
    assert '<th scope="col">low</th>' not in page  # a bound of the accuracy is no class
    source = np.asarray(Image.open(eyes / "grade3_eye78.png")).astype(int)
    written = sorted((tmp_path / "photographs").glob("grade3_eye78*_adversarial.png"))
    assert len(written) == 11  # of the radius that a file can hold, and DeepFool without one
    for path in written:
        change = np.abs(np.asarray(Image.open(path)).astype(int) - source).max()
        assert change == 4 if "noise" in path.name else change <= (8 if "_pgd_paper" in path.name else 4)


def test_preprocessing_is_differentiable_from_the_photograph_on(eyes: Path) -> None:
    preprocess = Compose(FUNDUS.parser("attack_eval").get_parsed_content("preprocess"))
    image = LoadPhotograph()(eyes / "grade0_eye77.png")
    frozen = FrozenPreprocessing(preprocess, image)
    frozen.check_differentiable()
    leaf = image.as_tensor().clone().requires_grad_(True)
    output = frozen(leaf)
    assert output.shape == (3, 384, 448)
    (gradient,) = torch.autograd.grad(output.square().sum(), leaf)
    inside = image.as_tensor().amax(0) > 60
    assert float((gradient.abs().amax(0) > 0)[inside].float().mean()) > 0.95
    with pytest.raises(ValueError, match="LocalContrastd mixes voxels, so that its scale cannot be measured"):
        _ = frozen.intensity_scale  # a grey level is another contrast wherever the light is another


def test_inference_writes_grades(eyes: Path, tmp_path: Path) -> None:
    workflow("inference", tmp_path, dataset_dir=str(eyes)).run()
    with (tmp_path / "grades.csv").open() as file:
        grades = {Path(row[0]).name: float(row[1]) for row in csv.reader(file)}
    assert set(grades) == {"grade0_eye77.png", "grade3_eye78.png"}
    assert set(grades.values()) <= {0.0, 1.0, 2.0, 3.0, 4.0}


def train(eyes: Path, folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Two steps on a phantom: the weights before and after."""
    flow = FUNDUS.workflow(
        "train",
        workflow_type="train",
        run_id="train",
        ckpt_dir=str(folder),
        phantom_dir=str(eyes),
        max_epochs=1,
        epoch_draws=4,
        batch_size=2,
    )
    network = flow.parser.get_parsed_content("network")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    flow.run()
    return before, torch.load(folder / "model.pt", weights_only=True)


def test_training_goes_on_without_data_and_is_repeatable(tmp_path: Path) -> None:
    """The weights change and are saved, and the seed decides which they are."""
    eyes = write_fundus_phantoms(tmp_path / "eyes", 1, grades=[0], size=128)
    (before, after), (_, again) = (train(eyes, tmp_path / run) for run in "ab")
    assert after.keys() == before.keys() == again.keys()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert {"nodes", "graph1.weight", "graph2.weight", "backbone.conv1.weight"} <= set(changed)
    assert [name for name in after if not torch.equal(after[name], again[name])] == []


def test_a_fold_is_one_batch_though_some_of_it_are_equal(tmp_path: Path) -> None:
    """Equal photographs are said to be one patient's, of the others nobody knows it: a batch takes both."""
    draw = np.random.default_rng(0)
    photographs = [draw.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(25)]
    lines = ["file,dr_grade,split"]
    for number, photograph in enumerate([*photographs, photographs[0]]):
        Image.fromarray(photograph).save(tmp_path / f"eye{number}.png")
        lines.append(f"eye{number}.png,{number % 5},train")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    options = {"workflow_type": "train", "run_id": "train", "dataset_dir": str(tmp_path), "output_dir": str(tmp_path)}
    flows = (FUNDUS.workflow("train", fold=fold, **options).parser for fold in range(5))
    flow = next(flow for flow in flows if any("patient" in p for p in flow.get_parsed_content("held_out_fold")))
    held_out = flow.get_parsed_content("held_out_fold")
    (batch,) = flow.get_parsed_content("validate::dataloader")
    assert batch["label"].tolist() == [photograph["label"] for photograph in held_out]
    assert len({"patient" in photograph for photograph in held_out}) == 2  # the pair, and others beside it


@pytest.mark.slow
def test_real_photographs(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """The targets on the 50 test photographs of IDRiD."""
    flow = workflow("evaluate", tmp_path, dataset_dir=str(shared_data("fundus")))
    flow.run()
    (clean,) = json.loads((tmp_path / "summary.json").read_text())["rows"]
    assert clean["cases"] == 50
    assert clean["accuracy"] >= 0.55
    assert clean["kappa"] >= 0.60
