"""The endoscopy bundle: complete, loadable, and accurate enough on clean frames to be worth attacking."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser, ConfigWorkflow
from torch import Tensor

from monai_smia.data import write_artefact_frames

BUNDLE = Path(__file__).parents[2] / "bundles" / "endoscopic_artefact_detection"
CONFIGS = ("train", "inference", "evaluate", "attack_eval")
MODELS = {"model.pt": 7, "model_polyps.pt": 1}


def config(*names: str) -> list[str]:
    return [str(BUNDLE / "configs" / f"{name}.yaml") for name in names]


def workflow(*names: str, output_dir: Path, workflow_type: str = "infer", **override: Any) -> ConfigWorkflow:
    return ConfigWorkflow(
        config(*names), workflow_type=workflow_type, bundle_root=str(BUNDLE), output_dir=str(output_dir), **override
    )


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mucosa with artefacts, of seeds that were not trained on."""
    return write_artefact_frames(tmp_path_factory.mktemp("frames"), 12, seed=77)


def test_required_files_exist() -> None:
    files = ["LICENSE", "configs/metadata.json", "docs/README.md", "docs/data_license.txt", "configs/polyps.yaml"]
    files += [f"configs/{name}.yaml" for name in CONFIGS] + [f"models/{name}" for name in MODELS]
    assert [file for file in files if not (BUNDLE / file).is_file()] == []
    meta = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    assert meta["version"] in meta["changelog"]


def test_all_configs_describe_the_same_victim() -> None:
    """Each config also stands alone; this keeps the copies equal."""
    parsers = {}
    for name in CONFIGS:
        parsers[name] = ConfigParser()
        parsers[name].read_config(config(name)[0])
    train = parsers["train"]
    for parser in parsers.values():
        for block in ("feature_extractor", "network_def", "anchors", "victim", "frame_size", "classes"):
            assert parser[block] == train[block]


@pytest.mark.parametrize(("file", "classes"), MODELS.items())
def test_weights_load_strictly_and_are_small(file: str, classes: int) -> None:
    path = BUNDLE / "models" / file
    assert path.stat().st_size < 25e6
    weights = torch.load(path, map_location="cpu", weights_only=True)
    assert all(isinstance(tensor, Tensor) and tensor.isfinite().all() for tensor in weights.values())
    parser = ConfigParser()
    parser.read_config(config("inference")[0])
    parser.update({"classes": list("abcdefg")[:classes]})
    parser.get_parsed_content("network_def").load_state_dict(weights, strict=True)


def test_network_answers_as_the_metadata_say() -> None:
    meta = json.loads((BUNDLE / "configs" / "metadata.json").read_text())["network_data_format"]
    parser = ConfigParser()
    parser.read_config(config("inference")[0])
    network = parser.get_parsed_content("network_def").eval()
    with torch.no_grad():
        heads = network(torch.zeros(1, meta["inputs"]["image"]["num_channels"], 64, 128))
    assert heads["classification"][0].shape[1] == meta["outputs"]["pred"]["num_channels"]
    assert list(meta["outputs"]["pred"]["channel_def"].values()) == parser.get_parsed_content("classes")


@pytest.mark.parametrize("name", ["inference", "evaluate"])
def test_inference_properties(name: str, tmp_path: Path, frames: Path) -> None:
    override = {"split": None} if name == "evaluate" else {}
    flow = workflow(name, output_dir=tmp_path, dataset_dir=str(frames), **override)
    flow.initialize()
    assert flow.check_properties() == []


def test_evaluate_finds_artefacts_on_unseen_mucosa(tmp_path: Path, frames: Path) -> None:
    flow = workflow("evaluate", output_dir=tmp_path, dataset_dir=str(frames), split=None)
    flow.initialize()
    flow.run()
    assert flow.evaluator.state.metrics["val_map50"] >= 0.4


def test_inference_writes_boxes(tmp_path: Path, frames: Path) -> None:
    flow = workflow("inference", output_dir=tmp_path, dataset_dir=str(frames))
    flow.initialize()
    flow.run()
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert len(found) == 12
    assert sum(len(boxes) for boxes in found.values()) >= 12
    assert {"box", "class", "score"} == set(next(boxes for boxes in found.values() if boxes)[0])


def test_training_goes_down(tmp_path: Path, frames: Path) -> None:
    flow = workflow(
        "train", output_dir=tmp_path, workflow_type="train", dataset_dir=str(frames), split=None, max_epochs=3,
        batch_size=4, weights=str(tmp_path / "model.pt"), planes=[8, 8, 8, 8], run_id="train",
    )  # fmt: skip
    flow.initialize()
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
    flow = workflow("attack_eval", output_dir=tmp_path, frame_count=1, steps=2, run_id="attack_eval")
    flow.initialize()
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
    flow = workflow("evaluate", "polyps", output_dir=tmp_path, dataset_dir=str(shared_data("endoscopy")))
    flow.initialize()
    flow.run()
    assert flow.evaluator.state.metrics["val_map50"] >= 0.45


def test_artefacts_on_real_frames(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    flow = workflow("evaluate", output_dir=tmp_path, frames_dir=str(shared_data("endoscopy")))
    flow.initialize()
    flow.run()
    assert flow.evaluator.state.metrics["val_map50"] >= 0.45
