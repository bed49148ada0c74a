"""The CT lung segmentation bundle: complete, loadable, and accurate enough on clean images to be worth attacking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
from bundles.shipped import CT
from monai.bundle import ConfigWorkflow

from monai_smia.targets.ct_lung import ct_datalist, write_ct_phantoms


def evaluate(output_dir: Path, dataset_dir: Path, **override: Any) -> ConfigWorkflow:
    flow = CT.workflow("evaluate", output_dir=str(output_dir), dataset_dir=str(dataset_dir), **override)
    flow.run()
    return flow


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small thorax of a seed that was not trained on."""
    return write_ct_phantoms(tmp_path_factory.mktemp("ct"), 1, size=(96, 96, 72), spacing=(3.6, 3.6, 4.0), seed=77)


@pytest.mark.parametrize(("space", "radius", "unit"), [("scanner", 70.0, "HU"), ("network", 0.05, "")])
def test_attack_eval_attacks_in_the_unit_of_its_space(space: str, radius: float, unit: str, phantoms: Path) -> None:
    parser = CT.parser("attack_eval", dataset_dir=str(phantoms), split=None, space=space, preset="paper")
    evaluation = parser.get_parsed_content("evaluation")
    attack = evaluation.attacks[-1].attack
    assert (attack.eps, evaluation.unit) == (pytest.approx(10 * radius), unit)  # the paper's own ball, of ten steps
    assert evaluation.attacks[1].attack.eps == pytest.approx(radius)
    assert evaluation.data_range == pytest.approx(radius / 0.05)


@pytest.mark.parametrize("name", ["inference", "evaluate"])
def test_inference_properties(name: str, tmp_path: Path, phantoms: Path) -> None:
    override = {"split": None} if name == "evaluate" else {}
    flow = CT.workflow(name, output_dir=str(tmp_path), dataset_dir=str(phantoms), **override)
    assert flow.check_properties() == []


def test_training_properties(tmp_path: Path, phantoms: Path) -> None:
    items = ct_datalist(phantoms)
    folder = str(tmp_path)
    flow = CT.workflow(
        "train", workflow_type="train", output_dir=folder, patients=items, phantoms=items * 2, ckpt_dir=folder
    )
    assert flow.check_properties() == []


def test_evaluate_segments_an_unseen_phantom(tmp_path: Path, phantoms: Path) -> None:
    metrics = evaluate(tmp_path, phantoms, split=None).evaluator.state.metrics
    jaccard, dice = metrics["val_mean_jaccard"], metrics["val_mean_dice"]
    assert jaccard >= 0.85
    assert dice == pytest.approx(2 * jaccard / (1 + jaccard), abs=1e-5)  # of one case, the two are one figure
    assert (tmp_path / "val_mean_jaccard_raw.csv").is_file()


def test_inference_writes_the_mask_on_the_grid_of_the_ct(tmp_path: Path, phantoms: Path) -> None:
    flow = CT.workflow("inference", output_dir=str(tmp_path), dataset_dir=str(phantoms))
    flow.run()
    assert [path.name for path in tmp_path.glob("*.nii.gz")] == ["phantom_000_lung.nii.gz"]
    predicted = nib.load(tmp_path / "phantom_000_lung.nii.gz")
    truth = nib.load(phantoms / "phantom_000_lung.nii.gz")
    assert predicted.affine == pytest.approx(truth.affine, abs=1e-4)
    a, b = predicted.get_fdata() > 0, truth.get_fdata() > 0
    assert (a & b).sum() / (a | b).sum() >= 0.85


@pytest.mark.parametrize(
    "largest_label_part",
    [
        pytest.param(
            False,
            marks=[
                pytest.mark.slow,
                pytest.mark.xfail(
                    strict=True,
                    reason="4 % of this mask are CT table: 0.926 as delivered; passes once it is repaired",
                ),
            ],
        ),
        True,  # without the piece of table, which is no lung
    ],
)
def test_held_out_patient(tmp_path: Path, shared_data: Callable[[str], Path], largest_label_part: bool) -> None:
    ct = shared_data("ct")
    assert [case["case"] for case in ct_datalist(ct, split="test")] == ["covidctmd_normal002"]
    flow = evaluate(tmp_path, ct, largest_label_part=largest_label_part)
    assert flow.evaluator.state.metrics["val_mean_jaccard"] >= 0.93


def test_overlay_for_several_processes(tmp_path: Path, phantoms: Path) -> None:
    parser = CT.parser("attack_eval", "multi_gpu_attack_eval", output_dir=str(tmp_path))
    assert "one_rank_only" in parser["image_dir"]  # the others wait for the first one's demo data
    cases = parser.get_parsed_content("evaluation").cases
    assert [Path(case["image"]).parent for case in cases] == [tmp_path / "demo"]
    parser.update({"dataset_dir": str(phantoms), "split": None})
    parser.parse()
    assert [Path(case["image"]).parent for case in parser.get_parsed_content("evaluation").cases] == [phantoms]
    checked, choice, first, *others = parser["initialize"]
    assert "idist.initialize" in first
    assert [checked, choice, *others] == CT.parser("attack_eval")["initialize"]


def test_overlay_for_the_papers_tables(tmp_path: Path) -> None:
    parser = CT.parser("attack_eval", "paper_tables", output_dir=str(tmp_path), cases=3)
    evaluation = parser.get_parsed_content("evaluation")
    assert len(evaluation.cases) == 3
    assert (evaluation.storage, evaluation.figure) == (None, None)
    names = {(row.name, row.key().setting_label, row.eps) for row in evaluation.attacks}
    assert {("BIM", "15 iterations", 0.05), ("SMIA", "alpha 0.75", 0.05), ("DAG", "paper", 0.5)} <= names
    radii = {row.eps for row in evaluation.attacks if row.setting == "equal radius"}
    assert sorted(radii) == pytest.approx([0.025, 0.05, 0.075])
