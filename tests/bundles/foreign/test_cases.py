"""Each case by itself: formats, ranges, files and patients are a case's own."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from bundles.foreign.build import ORIENT, SIGMOID, SOFTMAX, WINDOW, Foreign, build, threshold
from bundles.foreign.table import DISCRETE, FOREIGN, LARGEST, ONE_HOT
from bundles.foreign.test_foreign import QUICK, overlay, said_by
from dicom_files import planes
from dicom_files import save as save_series
from monai.bundle import run
from PIL import Image

from bundles import zoo
from monai_smia.adapters.monai_bundle import check_bundle, overlay_path


def config_of(bundle: Path) -> tuple[Path, dict[str, Any]]:
    path = bundle / "configs" / "inference.json"
    return path, json.loads(path.read_text())


def records_of(bundle: Path) -> list[dict[str, Any]]:
    lines = (bundle / "eval" / "attack_eval" / "records.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def with_a_series(bundle: Path, first: bool) -> Path:
    """A DICOM series among NIfTI files, its labels the clean decisions."""
    values = zoo.volume()[0]
    paths = save_series(planes(values.astype(int) + 1024), bundle / "data" / "series")
    path, config = config_of(bundle)
    series = {"image": str(paths[0].parent)}
    volumes = [{"image": item["image"]} for item in config["datalist"]]
    config["datalist"] = [series, *volumes] if first else [*volumes, series]
    config["preprocessing"]["transforms"] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        ORIENT | {"keys": "image"},
        WINDOW,
    ]
    config["postprocessing"]["transforms"] = [SOFTMAX, DISCRETE]
    path.write_text(json.dumps(config))
    return bundle


@pytest.mark.parametrize("first", [True, False], ids=["series first", "volumes first"])
def test_every_case_is_stored_in_its_own_format_and_range(first: bool, tmp_path: Path) -> None:
    bundle = with_a_series(build(tmp_path / "bundle", Foreign()), first)
    config = config_of(bundle)[1]
    far = nib.load(next(item["image"] for item in config["datalist"] if item["image"].endswith(".nii.gz")))
    values = np.asarray(far.dataobj).copy()
    values[0, 0, 0] = 9000  # more than 12 bits of the series hold
    nib.save(nib.Nifti1Image(values, far.affine), far.get_filename())
    rows, _ = overlay(bundle, {"attack#identified": True})
    assert rows["FGSM", "stored"]["cases"] == rows["FGSM", "computed"]["cases"] == 3
    out = bundle / "eval" / "attack_eval" / "volumes"
    kinds = {p.suffix if p.is_file() else "series" for p in out.glob("*fgsm*_adversarial*")}
    assert kinds == {".gz", "series"}
    change = {r["case"]: r["linf"] for r in records_of(bundle) if r["attack"] == "FGSM" and r["stage"] == "computed"}
    assert list(change.values()) == pytest.approx([70.0] * 3, rel=1e-3)  # no case is held to another's range


def test_a_faulty_first_case_fails_alone(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(), cases=3)
    first = Path(config_of(bundle)[1]["datalist"][0]["image"])
    first.write_bytes(first.read_bytes()[:200])
    assert check_bundle([str(config_of(bundle)[0])]) == []
    files = [str(config_of(bundle)[0]), str(overlay_path())]
    with pytest.raises(RuntimeError) as caught:
        run(run_id="attack_eval", config_file=files, bundle_root=str(bundle), **QUICK)
    assert any(re.search(r"1 of 3 cases failed: ct_0: .*ct_0\.nii\.gz", text) for text in said_by(caught.value))
    assert {r["case"] for r in records_of(bundle) if r["status"] == "ok"} == {"ct_1", "ct_2"}


def test_whose_a_case_is_arrives(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign())
    path, config = config_of(bundle)
    config["datalist"] = [{**item, "patient": "P1", "strata": {"scanner": "A"}} for item in config["datalist"]]
    path.write_text(json.dumps(config))
    overlay(bundle, {})
    assert {(r["patient"], r["strata"]["scanner"]) for r in records_of(bundle)} == {("P1", "A")}


def test_twin_and_pipeline_that_decide_differently_end_the_run(tmp_path: Path) -> None:
    """A step of postprocessing that takes most of the decision away: no gradient is of what is deployed."""
    large = {"_target_": "LabelFilterd", "keys": "pred", "applied_labels": [2]}
    bundle = build(tmp_path / "bundle", Foreign(post=[SOFTMAX, DISCRETE, large, ONE_HOT]))
    with pytest.raises(RuntimeError) as caught:
        overlay(bundle, {})
    said = " ".join(said_by(caught.value))
    assert re.search(
        r"ct_0: the differentiable twin and the bundle's own pipeline agree on \d\d\.\d% .*LabelFilterd", said
    )
    (stops,) = check_bundle([str(config_of(bundle)[0])])
    assert "LabelFilterd" in stops


def test_less_than_all_of_the_voxels_is_said(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(post=[SOFTMAX, DISCRETE, LARGEST, ONE_HOT]))
    rows, _ = overlay(bundle, {})
    assert 0.95 < rows["Clean", "computed"]["agreement"] < 0.995
    page = (bundle / "eval" / "attack_eval" / "report.html").read_text()
    assert "gradients are approximate" in page


def test_thresholds_are_the_deployed_ones(tmp_path: Path) -> None:
    """.2, .5 and .8 of one network are three figures, and the twin decides alike."""
    found = []
    for number, value in enumerate((0.2, 0.5, 0.8)):
        foreign = Foreign(network="sigmoid", post=[SIGMOID, threshold(value)], background=True)
        rows, _ = overlay(build(tmp_path / str(number), foreign), {})
        found.append(rows["Clean", "computed"]["dice"])
        assert rows["Clean", "computed"]["agreement"] == pytest.approx(1.0, abs=0.002)
    assert len({round(dice, 3) for dice in found}) == 3


def grey(folder: Path, labels: list[Any], outputs: int, post: dict[str, Any]) -> Path:
    """A classifier of one-channel pictures."""
    (folder / "data").mkdir(parents=True)
    items = []
    for number, label in enumerate(labels):
        pixels = np.random.default_rng(number).integers(40, 60, (24, 32)).astype(np.uint8)
        pixels[:, (number % outputs) * 8 :][:, :8] += 90
        Image.fromarray(pixels).save(folder / "data" / f"x_{number}.png")
        items.append({"image": str(folder / "data" / f"x_{number}.png"), "label": label})
    network = "torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d((4, 1)), torch.nn.Flatten(), torch.nn.Linear(4, OUT))"
    config = {
        **zoo.COMMON,
        "datalist": items,
        "network": f"${network.replace('OUT', str(outputs))}",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": 0, "b_max": 1},
            ],
        },
        "dataset": zoo.DATASET,
        "dataloader": zoo.LOADER,
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": [post]},
        "evaluator": zoo.EVALUATOR,
        "initialize": ["$@network.load_state_dict(torch.load(@bundle_root + '/models/model.pt', weights_only=True))"],
        "run": ["$@evaluator.run()"],
    }
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d((4, 1)), torch.nn.Flatten(), torch.nn.Linear(4, outputs))
    with torch.no_grad():
        network[2].weight.copy_(20 * torch.eye(outputs, 4))
        network[2].bias.fill_(-8.0)
    return zoo.write(folder, {"inference.json": config}, network)


def test_one_channel_pictures_are_attacked_and_not_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = grey(tmp_path / "bundle", [0, 1, 2], 3, SOFTMAX)
    rows, _ = overlay(bundle, {"attack#progress": True, "eps": 0.3})
    assert rows["Clean", "computed"]["accuracy"] == 1.0
    assert rows["FGSM", "computed"]["accuracy"] < 1.0
    assert ("FGSM", "stored") not in rows
    assert "x_0 has no stored rows" in capsys.readouterr().out


def test_several_labels_with_figures(tmp_path: Path) -> None:
    bundle = grey(tmp_path / "bundle", [[1, 0, 0], [0, 1, 0], [1, 0, 1]], 3, SIGMOID)
    rows, _ = overlay(bundle, {"attack#figures": True, "eps": 0.3})
    assert rows["Clean", "computed"]["accuracy"] == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert rows["FGSM", "computed"]["accuracy"] < rows["Clean", "computed"]["accuracy"]


def test_no_other_thread_asks_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next case is loaded while this one is attacked: loading must not touch the network."""
    asked = set()
    forward = torch.nn.Conv3d.forward

    def noted(module: torch.nn.Conv3d, image: torch.Tensor) -> torch.Tensor:
        asked.add(threading.current_thread().name)
        return forward(module, image)

    monkeypatch.setattr(torch.nn.Conv3d, "forward", noted)
    bundle = build(tmp_path / "bundle", Foreign(), cases=3)
    path, config = config_of(bundle)
    config["datalist"] = [{"image": item["image"]} for item in config["datalist"]]
    for t in config["preprocessing"]["transforms"]:
        t["keys"] = "image"
        if t["_target_"] == "Spacingd":
            t["mode"] = "bilinear"
    config["postprocessing"]["transforms"] = [SOFTMAX, DISCRETE]
    path.write_text(json.dumps(config))
    rows, _ = overlay(bundle, {})
    assert rows["Clean", "computed"]["jaccard"] == 1.0  # of itself, in every case
    assert asked == {"MainThread"}


def test_stronger_attacks_and_those_of_ones_own(tmp_path: Path) -> None:
    own = {"_target_": "monai_smia.attacks.APGD", "_mode_": "callable", "steps": 4, "loss": "soft_jaccard"}
    rows, _ = overlay(build(tmp_path / "own", Foreign(), cases=1), {"attack#extra": [own], "attack#only": ["APGD"]})
    assert rows["APGD", "computed"]["gradients"] == 4
    options = {"preset": "quick", "attack#gradients": 2, "attack#only": ["APGD", "CosPGD", "Square"]}
    rows, _ = overlay(build(tmp_path / "quick", Foreign(), cases=1), options)
    assert {name for name, _ in rows} == {"Clean", "APGD", "CosPGD", "Square"}


def test_an_ensemble_says_that_it_has_no_one_network(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(), cases=1)
    path, config = config_of(bundle)
    config["evaluator"] = {
        "_target_": "EnsembleEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "pred_keys": ["a", "b"],
        "networks": ["@network", "@network"],
        "inferer": "@inferer",
    }
    path.write_text(json.dumps(config))
    (stops,) = check_bundle([str(path)])
    assert "evaluator must have one network, got a EnsembleEvaluator of 2" in stops


def test_a_radiograph_of_one_dicom_file(tmp_path: Path) -> None:
    """It is no series: what the network sees is attacked (fault 59)."""
    bundle = grey(tmp_path / "bundle", [0, 1, 2], 3, SOFTMAX)
    path, config = config_of(bundle)
    for number, item in enumerate(config["datalist"]):
        ds = planes(zoo.volume()[0].astype(int) + 1024)[0]
        pixels = np.asarray(Image.open(item["image"]))
        ds.Rows, ds.Columns, ds.PixelData = *pixels.shape, pixels.astype("<u2").tobytes()
        ds.RescaleIntercept = 0
        for name in ("ImagePositionPatient", "ImageOrientationPatient"):
            delattr(ds, name)
        item["image"] = str(path.parent / f"dx_{number}.dcm")
        ds.save_as(item["image"], enforce_file_format=True)
    config["preprocessing"]["transforms"][0]["reader"] = "PydicomReader"
    path.write_text(json.dumps(config))
    rows, configuration = overlay(bundle, {"eps": 0.3})
    assert configuration["pipeline"]["space"] is False
    assert rows["Clean", "computed"]["accuracy"] == 1.0
    assert rows["FGSM", "computed"]["accuracy"] < 1.0


def test_output_inside_of_a_series_is_refused(tmp_path: Path) -> None:
    bundle = with_a_series(build(tmp_path / "bundle", Foreign()), True)
    (stops,) = check_bundle([str(config_of(bundle)[0])], {"output_dir": str(bundle / "data" / "series" / "out")})
    assert "output_dir must lie outside of the folders of the DICOM series" in stops


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("crop by the label, then one of its classes", "CropForegroundd"),
        ("Lambdad flip", "Lambdad"),
        ("Auto3DSeg CT: window and a sigmoid", "Lambdad"),
    ],
)
def test_the_step_that_keeps_an_attack_off_the_files_is_named(
    name: str, step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay(build(tmp_path / "bundle", FOREIGN[name], cases=1), {"attack#progress": True})
    assert re.search(rf"Attacking what the network sees, not the files: .*{step[:-1]}", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "step"), [("numpy, the affine lost", "Lambdad drops the affine"), ("numpy", ""), ("no metadata, last", "")]
)
def test_a_step_that_drops_the_affine_is_said(
    name: str, step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Image and label are compared voxel by voxel, as the bundle does (fault 58); the page says so as well."""
    bundle = build(tmp_path / "bundle", FOREIGN[name], cases=1)
    overlay(bundle, {"attack#progress": True})
    said, page = capsys.readouterr().out, (bundle / "eval" / "attack_eval" / "report.html").read_text()
    assert ("Attacking what the network sees, not the files" in said) is (FOREIGN[name].space == "network")
    for text in (said, page):
        assert ("drops the affine of the image: image and label are compared voxel by voxel" in text) is bool(step)
        assert step in text
