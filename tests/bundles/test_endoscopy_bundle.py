"""The endoscopy bundle: complete, loadable, and accurate enough on clean frames to be worth attacking."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bundles.shipped import ENDOSCOPY
from ignite.engine import Events
from monai.transforms import LoadImaged

from monai_smia.attacks import APGD
from monai_smia.metrics import DetectionMetrics
from monai_smia.targets.endoscopy import (
    EfficientPyramid,
    endoscopy_datalist,
    write_artefact_frames,
    write_polyp_frames,
)
from monai_smia.targets.same_pictures import apart_from
from monai_smia.victims.box_losses import focal

ARTEFACTS = ("artefacts", "train_artefacts")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mucosa with polyps."""
    return write_polyp_frames(tmp_path_factory.mktemp("frames"), 12, seed=77)


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mucosa with artefacts, of seeds that were not trained on."""
    return write_artefact_frames(tmp_path_factory.mktemp("artefacts"), 12, seed=77)


def test_the_exported_network_says_what_the_network_says() -> None:
    """Logits and codes of every level in one tensor, of the same weights; its channels are those of the metadata."""
    meta = ENDOSCOPY.metadata()["network_data_format"]["outputs"]["pred"]
    parser = ENDOSCOPY.parser("inference")
    network, exported = (parser.get_parsed_content(name).eval() for name in ("network_def", "exported"))
    exported.load_state_dict(network.state_dict(), strict=True)
    image = torch.rand(2, 3, 64, 128)
    with torch.no_grad():
        heads, one = network(image), exported(image)
    assert one.shape == (2, meta["num_channels"], 2 * 85)  # places of two squares of 64
    start = 0
    for logits, codes in zip(heads["classification"], heads["box_regression"], strict=True):
        end = start + logits[0, 0].numel()
        assert torch.equal(one[:, :1, start:end].reshape(logits.shape), logits)
        assert torch.equal(one[:, 1:, start:end].reshape(codes.shape), codes)
        start = end
    assert start == one.shape[2]
    assert list(meta["channel_def"].values())[:1] == parser.get_parsed_content("classes")


@pytest.mark.parametrize("name", ["inference", "evaluate"])
def test_inference_properties(name: str, tmp_path: Path, frames: Path) -> None:
    override = {"split": None} if name == "evaluate" else {}
    flow = ENDOSCOPY.workflow(name, output_dir=str(tmp_path), dataset_dir=str(frames), **override)
    assert flow.check_properties() == []


def test_evaluate_finds_artefacts_on_unseen_mucosa(tmp_path: Path, artefacts: Path) -> None:
    flow = ENDOSCOPY.workflow("evaluate", "artefacts", output_dir=str(tmp_path), dataset_dir=str(artefacts), split=None)
    flow.run()
    assert flow.evaluator.state.metrics["val_map50"] >= 0.4


def test_polyps_that_are_drawn_are_found(tmp_path: Path, frames: Path) -> None:
    """By a detector that has seen real ones alone."""
    flow = ENDOSCOPY.workflow("evaluate", output_dir=str(tmp_path), dataset_dir=str(frames), split=None)
    flow.run()
    assert flow.evaluator.state.metrics["val_map50"] >= 0.8


def test_inference_writes_boxes(tmp_path: Path, frames: Path) -> None:
    flow = ENDOSCOPY.workflow("inference", output_dir=str(tmp_path), dataset_dir=str(frames))
    flow.run()
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert len(found) == 12
    assert sum(len(boxes) for boxes in found.values()) >= 12
    assert {"box", "class", "score"} == set(next(boxes for boxes in found.values() if boxes)[0])
    assert {box["class"] for boxes in found.values() for box in boxes} == {"polyp"}


@pytest.mark.parametrize("what", ["polyps", "artefacts"])
def test_training_goes_down(tmp_path: Path, frames: Path, artefacts: Path, what: str) -> None:
    small: dict[str, object] = {"initial_weights": None, "frame_size": [128, 96]}
    overlays: tuple[str, ...] = ()
    if what == "artefacts":
        small, overlays = {"feature_extractor::planes": [8, 8, 8, 8]}, ("artefacts", "train_artefacts")
    flow = ENDOSCOPY.workflow(
        "train", *overlays, output_dir=str(tmp_path), workflow_type="train", split=None, max_epochs=3,
        dataset_dir=str(artefacts if overlays else frames), batch_size=4, autocast=None,
        weights=str(tmp_path / "model.pt"), run_id="train", **small,
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


@pytest.mark.parametrize("autocast", ["bfloat16", None])
def test_training_takes_the_loss_that_it_documents(autocast: str | None, tmp_path: Path, artefacts: Path) -> None:
    """Focal loss and smooth L1, which no default of the attacks replaces; in float32 the network is left as it is."""
    given = {"output_dir": str(tmp_path), "split": None, "autocast": autocast, "feature_extractor::planes": [8] * 4}
    overlays = ("artefacts", "train_artefacts")
    parser = ENDOSCOPY.parser("train", *overlays, dataset_dir=str(artefacts), batch_size=2, **given)
    batch = next(iter(parser.get_parsed_content("train::dataloader")))
    trainer, victim = (parser.get_parsed_content(name) for name in ("train::trainer", "victim"))
    network = trainer.network.eval()
    with torch.no_grad():
        prediction = trainer.inferer(batch["image"], network)
        exact = network(batch["image"])
        loss = trainer.loss_function(prediction, batch["label"])
        assert loss == focal(victim.output, prediction, batch["label"]).mean()
    pairs = [(ours, theirs) for name in exact for ours, theirs in zip(prediction[name], exact[name], strict=True)]
    assert all(torch.equal(*pair) for pair in pairs) == (autocast is None)


def test_training_leaves_out_what_another_part_shows(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    """Of frames that are the same pixel for pixel; from polyps, and from what artefacts are drawn onto."""
    folder, splits = str(shared_data("endoscopy")), ("train", "val", "test")
    train, val, test = (endoscopy_datalist(folder, classes=["polyp"], split=split) for split in splits)
    expected = {item["case"] for item in apart_from(train, val + test, LoadImaged("image"))}
    assert len(expected) == len(train) - 1
    polyps = ENDOSCOPY.parser("train", dataset_dir=folder, output_dir=str(tmp_path))
    polyps["train::dataset"]["cache_num"] = 0  # nothing is loaded
    assert {item["case"] for item in polyps.get_parsed_content("train::dataset").data} == expected
    artefacts = ENDOSCOPY.parser("train", "artefacts", "train_artefacts", frames_dir=folder, output_dir=str(tmp_path))
    frames = artefacts.get_parsed_content("real_frames")
    assert {Path(frame).stem for frame in frames} == expected


@pytest.mark.parametrize("overlays", [(), ("artefacts",)], ids=["polyps", "artefacts"])
def test_attack_eval_on_demo_data(tmp_path: Path, overlays: tuple[str, ...]) -> None:
    options = {"output_dir": str(tmp_path), "frame_count": 1, "preset": "paper", "steps": 2}
    flow = ENDOSCOPY.workflow("attack_eval", *overlays, run_id="attack_eval", **options)
    flow.run()
    rows = json.loads((tmp_path / "summary.json").read_text())["rows"]
    computed = [row for row in rows if row["stage"] == "computed"]
    names = [row["attack"] for row in computed]
    assert names == ["Clean", "Noise", "FGSM", *["BIM", "PGD", "DAG", "SMIA"] * 2]
    assert {row["loss"] for row in computed[1:]} == {"focal"}
    assert [row["linf"] for row in rows[1:] if row["linf"] > row["eps"] + 1e-6] == []
    clean = rows[0]["map50"]
    assert [
        row["attack"] for row in computed if row["attack"] in ("BIM", "PGD", "SMIA") and row["map50"] >= clean
    ] == []
    assert len(list((tmp_path / "figures").glob("*.png"))) == 10


def test_the_polyp_detector_is_what_its_configs_say(tmp_path: Path) -> None:
    """Its network in every config and in one tensor, traced, too; its file is the one that the documents name."""
    text = (ENDOSCOPY.root / "docs" / "README.md").read_text()
    for weights in (ENDOSCOPY.root / "models" / name for name in ("model_robust.pt", "model.pt")):
        assert hashlib.sha256(weights.read_bytes()).hexdigest() in text
    state, image = torch.load(weights, map_location="cpu", weights_only=True), torch.rand(1, 3, 64, 128)
    maps = []
    for name in ("inference", "evaluate", "attack_eval", "train"):
        parser = ENDOSCOPY.parser(name, output_dir=str(tmp_path))
        assert parser.get_parsed_content("frame_size") == [320, 256]
        network = parser.get_parsed_content("network").eval()
        network.load_state_dict(state)
        assert isinstance(network.feature_extractor, EfficientPyramid)
        with torch.no_grad():
            maps.append(network(image)["classification"])
    assert all(torch.equal(*pair) for other in maps for pair in zip(other, maps[0], strict=True))
    exported = ENDOSCOPY.parser("inference").get_parsed_content("exported").eval()
    exported.load_state_dict(state)
    script = torch.jit.trace(exported, torch.rand(1, 3, 256, 320))
    with torch.no_grad():
        assert exported(image).shape == (1, 5, 2 * 85)
        assert (script(image) - exported(image)).abs().max() <= 1e-6


def test_polyps_are_found_in_pictures(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    folder, items = (
        tmp_path / "pictures",
        endoscopy_datalist(str(shared_data("endoscopy")), classes=["polyp"], split="val"),
    )
    folder.mkdir()
    for item in items[:4]:
        shutil.copy(item["image"], folder)
    flow = ENDOSCOPY.workflow("inference", output_dir=str(tmp_path / "out"), dataset_dir=str(folder))
    flow.run()
    found = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")]
    assert len(found) == 4
    assert {box["class"] for boxes in found for box in boxes} == {"polyp"}


@pytest.mark.slow
def test_the_robust_polyp_detector_stands_where_the_standard_one_falls(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    """Ten frames of the part val, one grey level."""
    options = {"dataset_dir": str(shared_data("endoscopy")), "split": "val", "output_dir": str(tmp_path)}
    parser = ENDOSCOPY.parser("attack_eval", **options)
    victim, run = parser.get_parsed_content("victim"), parser.get_parsed_content("evaluation")
    attack, metrics = APGD(eps=1 / 255, steps=10, progress=False), DetectionMetrics(["polyp"])
    cases = [(case["image"][None], [case["label"]]) for case in map(run.loading, run.cases[::15])]
    found = {}
    for name in ("model", "model_robust"):
        victim.network.load_state_dict(torch.load(ENDOSCOPY.root / "models" / f"{name}.pt", weights_only=True))
        attacked = [(attack(victim, image, label).adversarial, label) for image, label in cases]
        for way, pairs in {"clean": cases, "attacked": attacked}.items():
            records = [metrics.case(victim, victim.infer(image), label, image) for image, label in pairs]
            found[name, way] = metrics.summary(records)["map50"]
    assert found["model", "attacked"] < 0.05
    assert found["model_robust", "attacked"] >= 0.2
    assert found["model_robust", "clean"] >= found["model", "clean"] - 0.15


SOME_OR_ALL = pytest.mark.parametrize("some", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["some", "all"])


@SOME_OR_ALL
def test_polyps_of_real_frames(tmp_path: Path, shared_data: Callable[[str], Path], some: bool) -> None:
    folder = str(shared_data("endoscopy"))
    items = endoscopy_datalist(folder, classes=["polyp"], split="test")
    given = {"datalist": items[::5]} if some else {}
    flow = ENDOSCOPY.workflow("evaluate", output_dir=str(tmp_path), dataset_dir=folder, **given)
    assert len(flow.parser.get_parsed_content("cases")) == len(items[:: 5 if some else 1])
    flow.run()
    assert flow.evaluator.state.metrics["val_map50"] >= 0.55


@SOME_OR_ALL
def test_artefacts_on_real_frames(tmp_path: Path, shared_data: Callable[[str], Path], some: bool) -> None:
    given = {"frame_count": 15} if some else {}
    folder = str(shared_data("endoscopy"))
    flow = ENDOSCOPY.workflow("evaluate", "artefacts", output_dir=str(tmp_path), frames_dir=folder, **given)
    flow.run()
    assert flow.evaluator.state.metrics["val_map50"] >= 0.45
