"""Bundles that predict landmarks, under the overlay: figures are those of the network on the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from bundles.foreign.test_foreign import overlay
from bundles.landmarks import POINTS, Landmarks, bundle
from PIL import Image

from monai_smia.adapters.monai_bundle import check_bundle

TOLD = {"attack#task": "regression", "attack#within": 1.0}
STRONG = {"eps": 0.08, "attack#only": ["Noise", "FGSM"]}


def error(path: Path, label: Any) -> float:
    """Mean distance of what the network finds in a file, by nothing of this package."""
    if path.suffix == ".png":
        slices = [np.asarray(Image.open(path)).T]
    else:
        volume: Any = nib.load(path)
        slices = list(np.moveaxis(volume.get_fdata(), 2, 0))
    images = torch.stack([torch.from_numpy(np.ascontiguousarray(image)).float()[None] / 255 for image in slices])
    with torch.no_grad():
        found = Landmarks()(images).numpy()
    distances = np.linalg.norm(found - np.asarray(label, dtype=float).reshape(found.shape), axis=1)
    return float(np.nanmean(distances))


def items(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "configs" / "inference.json").read_text())["datalist"]
    return found


@pytest.mark.parametrize("slices", [False, True])
def test_figures_are_those_of_the_network_on_the_files(slices: bool, tmp_path: Path) -> None:
    folder = bundle(tmp_path / "bundle", slices=slices)
    options = {**TOLD, **STRONG, "attack#point_axis": 2 if slices else 1}
    assert check_bundle([str(folder / "configs" / "inference.json")], options) == []
    rows, _ = overlay(folder, options)
    cases = items(folder)
    clean = rows["Clean", "computed"]
    assert clean["error_mean"] == pytest.approx(np.mean([error(Path(c["image"]), c["label"]) for c in cases]), abs=1e-5)
    assert clean["agreement"] == clean["share_right"] == 1.0
    assert rows["Noise", "computed"]["share_right"] == 1.0 > rows["FGSM", "computed"]["share_right"]
    if slices:  # a greyscale picture is not stored
        stored = sorted((folder / "eval" / "attack_eval" / "volumes").glob("*fgsm*_adversarial.nii.gz"))
        by_hand = [error(path, case["label"]) for path, case in zip(stored, cases, strict=True)]
        assert rows["FGSM", "stored"]["error_mean"] == pytest.approx(np.mean(by_hand), abs=1e-5)


def test_without_labels_the_clean_landmarks_are_the_reference(tmp_path: Path) -> None:
    rows, _ = overlay(bundle(tmp_path / "bundle", labels=False), {**TOLD, **STRONG, "attack#point_axis": 1})
    assert rows["Clean", "computed"]["error_mean"] == 0
    assert rows["FGSM", "computed"]["error_mean"] > 2 * rows["Noise", "computed"]["error_mean"] > 0


def test_the_page_and_the_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = bundle(tmp_path / "bundle", cases=1)
    options = {"attack#figures": True, "attack#progress": True, "attack#point_axis": 1}
    overlay(folder, {**TOLD, **STRONG, **options})
    page = (folder / "eval" / "attack_eval" / "report.html").read_text()
    for text in (capsys.readouterr().out, page):
        assert "The network predicts 3 points (2 x 3); right are those that are at most 1 off." in text
    assert "success detection rate" in page
    assert "<h2>Damage, sizes and further curves</h2>" in page  # numbers have no classes
    assert list((folder / "eval" / "attack_eval" / "figures").glob("*fgsm*.png"))


def test_numbers_that_stand_for_themselves_are_said_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overlay(bundle(tmp_path / "bundle", cases=1), {**TOLD, "attack#progress": True})
    assert "each of which counts by itself; where they are coordinates, say along which axis" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "where these are numbers, such as landmarks, say so with --attack#task regression and --attack#within"),
        ({"attack#task": "regression"}, "within must be a number > 0, .* got None"),
        ({**TOLD, "attack#point_axis": 5}, r"point_axis must be one of the axes \[-2, -1, 1, 2\] .* got 5"),
        ({**TOLD, "attack#logits": "float16"}, "logits must be 'float32'"),
        ({**TOLD, "attack#class_names": ["a"]}, "class_names must be left out of a regression"),
        ({**TOLD, "attack#activation": "softmax"}, "activation must be left out of a regression, got 'softmax'"),
        (
            {"attack#task": "classification", "attack#activation": "softmax"},
            "must predict classes, .B, K., ",
        ),
        (
            {"attack#task": "classification", "attack#within": 1.0, "attack#activation": "softmax"},
            "within must be left out of a classification, got 1.0",
        ),
    ],
)
def test_what_is_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = bundle(tmp_path / "bundle", cases=1)
    (stops,) = check_bundle([str(folder / "configs" / "inference.json")], options)
    with pytest.raises(ValueError, match=said):
        raise ValueError(stops)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("$lambda x: x * 2", "the differentiable twin and the bundle's own pipeline agree on 0.0% of the clean case"),
        ("$lambda x: x[:1]", r"postprocessing must leave the network's numbers, \(2, 3\), got \(1, 3\)"),
    ],
)
def test_postprocessing_that_makes_something_else_of_the_numbers(step: str, said: str, tmp_path: Path) -> None:
    folder = bundle(tmp_path / "bundle", cases=1)
    path = folder / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["postprocessing"]["transforms"] = [{"_target_": "Lambdad", "keys": "pred", "func": step}]
    path.write_text(json.dumps(config))
    (stops,) = check_bundle([str(path)], {**TOLD, "attack#point_axis": 1})
    with pytest.raises(ValueError, match=said):
        raise ValueError(stops)


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """The bundle's config after a change."""
    path = folder / "configs" / "inference.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return path


@pytest.mark.parametrize(
    "label", [[[1.0, 2.0], [3.0, 4.0]], np.array(POINTS).tolist(), np.array(POINTS).ravel().tolist()]
)
def test_a_label_of_another_shape_is_refused(label: Any, tmp_path: Path) -> None:
    """Points one after the other hold as many numbers as all rows and then all columns."""
    folder = bundle(tmp_path / "bundle", cases=1)
    path = changed(folder, lambda config: config["datalist"][0].update(label=label))
    (stops,) = check_bundle([str(path)], {**TOLD, "attack#point_axis": 1})
    assert f"numbers that the network predicts, (2, 3), got {np.shape(label)}." in stops


def test_a_label_may_have_the_shape_that_postprocessing_gives(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "bundle", cases=1)
    flat = {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: x.flatten()"}
    label = np.array(POINTS).T.ravel().tolist()

    def change(config: dict[str, Any]) -> None:
        config["datalist"][0]["label"] = label
        config["postprocessing"]["transforms"] = [flat]

    changed(folder, change)
    rows, _ = overlay(folder, {**TOLD, **STRONG, "attack#point_axis": 1})
    (case,) = items(folder)
    assert rows["Clean", "computed"]["error_mean"] == pytest.approx(error(Path(case["image"]), label), abs=1e-5)


def test_the_label_is_that_of_the_key_though_there_is_another_one(tmp_path: Path) -> None:
    """MONAI's engines take what is called label."""
    folder = bundle(tmp_path / "bundle", cases=1)
    (case,) = items(folder)
    both = {"points": case["label"], "label": np.zeros((2, 3)).tolist()}

    def change(config: dict[str, Any]) -> None:
        config["datalist"][0].update(both)
        config["preprocessing"]["transforms"][-1]["keys"] = ["label", "points"]

    changed(folder, change)
    rows, _ = overlay(folder, {**TOLD, **STRONG, "attack#point_axis": 1, "attack#label_key": "points"})
    assert rows["Clean", "computed"]["error_mean"] == pytest.approx(error(Path(case["image"]), case["label"]), abs=1e-5)


@pytest.mark.parametrize(
    "step",
    [
        {"_target_": "Resized", "keys": "image", "spatial_size": [12, 10]},
        {"_target_": "Flipd", "keys": "image", "spatial_axis": 0},
    ],
)
def test_no_points_are_drawn_where_they_are_not(step: dict[str, Any], tmp_path: Path) -> None:
    """A flip leaves the shape as it is."""
    folder = bundle(tmp_path / "bundle", cases=1)
    changed(folder, lambda config: config["preprocessing"]["transforms"].append(step))
    overlay(folder, {**TOLD, **STRONG, "attack#figures": True, "attack#point_axis": 1})
    assert not list((folder / "eval" / "attack_eval" / "figures").glob("*fgsm*.png"))
