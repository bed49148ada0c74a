"""Options of the endoscopy bundle that would do nothing end the run, and old ways still work."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from bundles.shipped import ENDOSCOPY
from monai.bundle import ConfigParser

from monai_smia.targets.endoscopy import write_artefact_frames, write_polyp_frames

ARTEFACTS = ("artefacts", "train_artefacts")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_polyp_frames(tmp_path_factory.mktemp("frames"), 3, seed=77)


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artefact_frames(tmp_path_factory.mktemp("artefacts"), 3, seed=77)


@pytest.mark.parametrize("name", ["attack_eval", "evaluate", "train", "inference"])
def test_frames_to_draw_on_are_of_the_overlay(name: str, tmp_path: Path) -> None:
    """In Python, too, where nothing looks at the names of options."""
    options = {"frames_dir": "frames", "output_dir": str(tmp_path), "split": None}
    for count in ({}, {"mucosa_count" if name == "train" else "frame_count": 1}):
        with pytest.raises(SystemExit, match=r"--frames_dir is of configs/artefacts\.yaml: lay it over the others"):
            ENDOSCOPY.workflow(name, **options, **count)
    if name != "train":
        with pytest.raises(RuntimeError) as caught:
            ENDOSCOPY.workflow(name, "artefacts", **options).parser.get_parsed_content("cases")
        assert "frames does not exist" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("names", "options", "told"),
    [
        (("evaluate",), {"frame_count": 1}, "--frame_count would do nothing beside --dataset_dir"),
        (("attack_eval",), {"frame_count": 1}, "--frame_count would do nothing beside --dataset_dir"),
        (("inference",), {"frame_count": 1}, "--frame_count would do nothing beside --dataset_dir"),
        (("attack_eval", "universal"), {"train_count": 1}, "--train_count would do nothing beside --dataset_dir"),
        (("attack_eval", "artefacts"), {"frames_dir": "there"}, "--frames_dir would do nothing beside --dataset_dir"),
        (("evaluate", "artefacts"), {"frames_dir": "there"}, "--frames_dir would do nothing beside --dataset_dir"),
        (("train",), {"mucosa_count": 1}, "--mucosa_count would do nothing beside --dataset_dir"),
        (("train", *ARTEFACTS), {"real_count": 1}, "--real_count would do nothing beside --dataset_dir"),
        (("train", *ARTEFACTS), {"artefact_prob": 0.5}, "--artefact_prob must be one of 0.0, got 0.5"),
        (("train", *ARTEFACTS), {"real_count": 1, "dataset_dir": None}, "--real_count must be one of None, got 1"),
        (("train", "artefacts"), {}, r"configs/train_artefacts\.yaml is needed"),
        (("train", "artefacts"), {"initial_weights": None}, r"configs/train_artefacts\.yaml is needed"),
        (("train", "train_artefacts"), {}, r"configs/artefacts\.yaml is needed"),
        (("train", "train_robust", *ARTEFACTS), {"attack_eps": 0.01}, r"train_robust_artefacts\.yaml is needed"),
        (("train", "train_robust", "artefacts", "train_robust_artefacts"), {}, r"train_artefacts\.yaml is needed"),
    ],
)
def test_what_would_do_nothing_ends_the_run(
    names: tuple[str, ...], options: dict[str, object], told: str, artefacts: Path, tmp_path: Path
) -> None:
    given = {"dataset_dir": str(artefacts), "output_dir": str(tmp_path), "split": None}
    with pytest.raises(SystemExit, match=told):
        ENDOSCOPY.workflow(*names, **(given | options))


def test_robust_training_of_artefacts_needs_both_overlays(artefacts: Path, tmp_path: Path) -> None:
    given = {"dataset_dir": str(artefacts), "output_dir": str(tmp_path), "split": None}
    with pytest.raises(Exception, match="inner_attack"):
        ENDOSCOPY.workflow("train", *ARTEFACTS, "train_robust_artefacts", **given)


def test_the_old_overlay_of_polyps_changes_nothing_and_warns(tmp_path: Path, frames: Path) -> None:
    options = {"dataset_dir": str(frames), "output_dir": str(tmp_path), "split": None}
    found = []
    for overlays in ((), ("polyps",)):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            flow = ENDOSCOPY.workflow("evaluate", *overlays, **options)
        assert any("polyps.yaml is deprecated" in str(warning.message) for warning in told) == bool(overlays)
        flow.run()
        found.append(flow.evaluator.state.metrics)
    assert found[0] == found[1]


def test_an_overlay_leaves_the_data_that_another_config_names(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("dataset_dir: there\nheld_out: 0.2\nsplit_seed: 7\n")
    parser = ConfigParser()
    parser.read_config([*ENDOSCOPY.configs("attack_eval"), str(mine), *ENDOSCOPY.configs("artefacts")])
    assert [parser[name] for name in ("dataset_dir", "held_out", "split_seed")] == ["there", 0.2, 7]


def test_demos_of_both_detectors_share_an_output_folder(tmp_path: Path) -> None:
    """And a run of fewer frames measures no frame of the run before."""
    for overlays in ((), ("artefacts",)):
        for count in (3, 1):
            parser = ENDOSCOPY.parser("attack_eval", *overlays, output_dir=str(tmp_path), frame_count=count)
            assert len(parser.get_parsed_content("cases")) == count
