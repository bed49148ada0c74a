"""The endoscopy bundle: complete, loadable, and accurate enough on clean frames to be worth attacking."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bundles.shipped import ENDOSCOPY
from ignite.engine import Events

from monai_smia.targets.endoscopy import write_artefact_frames


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mucosa with artefacts, of seeds that were not trained on."""
    return write_artefact_frames(tmp_path_factory.mktemp("frames"), 12, seed=77)


def test_network_answers_as_the_metadata_say() -> None:
    meta = ENDOSCOPY.metadata()["network_data_format"]
    parser = ENDOSCOPY.parser("inference")
    network = parser.get_parsed_content("network_def").eval()
    with torch.no_grad():
        heads = network(torch.zeros(1, meta["inputs"]["image"]["num_channels"], 64, 128))
    assert heads["classification"][0].shape[1] == meta["outputs"]["pred"]["num_channels"]
    assert list(meta["outputs"]["pred"]["channel_def"].values()) == parser.get_parsed_content("classes")


@pytest.mark.parametrize("name", ["inference", "evaluate"])
def test_inference_properties(name: str, tmp_path: Path, frames: Path) -> None:
    override = {"split": None} if name == "evaluate" else {}
    flow = ENDOSCOPY.workflow(name, output_dir=str(tmp_path), dataset_dir=str(frames), **override)
    assert flow.check_properties() == []


def test_evaluate_finds_artefacts_on_unseen_mucosa(tmp_path: Path, frames: Path) -> None:
    flow = ENDOSCOPY.workflow("evaluate", output_dir=str(tmp_path), dataset_dir=str(frames), split=None)
    flow.run()
    assert flow.evaluator.state.metrics["val_map50"] >= 0.4


def test_inference_writes_boxes(tmp_path: Path, frames: Path) -> None:
    flow = ENDOSCOPY.workflow("inference", output_dir=str(tmp_path), dataset_dir=str(frames))
    flow.run()
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert len(found) == 12
    assert sum(len(boxes) for boxes in found.values()) >= 12
    assert {"box", "class", "score"} == set(next(boxes for boxes in found.values() if boxes)[0])


def test_training_goes_down(tmp_path: Path, frames: Path) -> None:
    flow = ENDOSCOPY.workflow(
        "train", output_dir=str(tmp_path), workflow_type="train", dataset_dir=str(frames), split=None, max_epochs=3,
        batch_size=4, weights=str(tmp_path / "model.pt"), **{"feature_extractor::planes": [8, 8, 8, 8]}, run_id="train",
    )  # fmt: skip
    assert flow.check_properties() == []
    losses: list[float] = []
    flow.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output["loss"])
    )
    flow.run()
    assert len(losses) == 9
    assert losses[-1] < losses[0]
    assert (tmp_path / "model.pt").is_file()


def test_attack_eval_on_demo_data(tmp_path: Path) -> None:
    options = {"output_dir": str(tmp_path), "frame_count": 1, "preset": "paper", "steps": 2}
    flow = ENDOSCOPY.workflow("attack_eval", run_id="attack_eval", **options)
    flow.run()
    rows = json.loads((tmp_path / "summary.json").read_text())["rows"]
    computed = [row for row in rows if row["stage"] == "computed"]
    names = [row["attack"] for row in computed]
    assert names == ["Clean", "Noise", "FGSM", "BIM", "PGD", "DAG", "SMIA", "BIM", "SMIA", "DAG"]
    assert {row["loss"] for row in computed[1:]} == {"ranking"}
    assert [row["linf"] for row in rows[1:] if row["linf"] > row["eps"] + 1e-6] == []
    clean = rows[0]["map50"]
    assert [
        row["attack"] for row in computed if row["attack"] in ("BIM", "PGD", "SMIA") and row["map50"] >= clean
    ] == []
    assert len(list((tmp_path / "figures").glob("*.png"))) == 9


def test_polyps_of_real_frames(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    flow = ENDOSCOPY.workflow("evaluate", "polyps", output_dir=str(tmp_path), dataset_dir=str(shared_data("endoscopy")))
    flow.run()
    assert flow.evaluator.state.metrics["val_map50"] >= 0.45


def test_artefacts_on_real_frames(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    flow = ENDOSCOPY.workflow("evaluate", output_dir=str(tmp_path), frames_dir=str(shared_data("endoscopy")))
    flow.run()
    assert flow.evaluator.state.metrics["val_map50"] >= 0.45
