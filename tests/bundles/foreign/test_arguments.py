"""What is typed behind ``--attack#`` means what it says, or is refused; a label lies where its image does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bundles.foreign.build import INVERT, LPS, SOFTMAX, WINDOW, Foreign, build
from bundles.foreign.table import ALONE, ARGMAX
from bundles.foreign.test_cases import with_a_series
from bundles.foreign.test_foreign import QUICK, overlay, said_by
from monai.bundle import run

from monai_smia.adapters.monai_bundle import check_bundle, overlay_path
from monai_smia.adapters.monai_bundle.evaluation import UNSUPERVISED

pytestmark = pytest.mark.usefixtures("no_charts")

SHIFTED = LPS + np.outer([30.0, 0, 0, 0], [0, 0, 0, 1])
FLIPPED = LPS @ np.diag([-1.0, 1, 1, 1])
GRID = "label must lie on the image's grid: the affines differ, image .*7.0.*, label "


def with_label_affine(bundle: Path, affine: np.ndarray, case: int) -> Path:
    """The bundle, the label of one case with another affine and the same voxels."""
    path = bundle / "data" / "l" / f"ct_{case}.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(nib.load(path).dataobj).copy(), affine), path)
    return bundle


@pytest.mark.parametrize("affine", [SHIFTED, FLIPPED], ids=["shifted", "flipped"])
@pytest.mark.parametrize(
    "foreign",
    [Foreign(steps=[WINDOW]), Foreign(steps=ALONE, post=[SOFTMAX, INVERT, ARGMAX])],
    ids=["window", "image alone, and back"],
)
def test_a_label_elsewhere_than_its_image_fails_its_case_alone(
    foreign: Foreign, affine: np.ndarray, tmp_path: Path
) -> None:
    bundle = with_label_affine(build(tmp_path / "bundle", foreign), affine, case=1)
    files = [str(bundle / "configs" / "inference.json"), str(overlay_path())]
    with pytest.raises(RuntimeError) as caught:
        run(run_id="attack_eval", config_file=files, bundle_root=str(bundle), **QUICK)
    assert any(re.search(f"1 of 2 cases failed: ct_1: .*{GRID}", text) for text in said_by(caught.value))
    lines = (bundle / "eval" / "attack_eval" / "records.jsonl").read_text().splitlines()
    assert {r["case"] for r in map(json.loads, lines) if r["status"] == "ok"} == {"ct_0"}


def test_the_check_says_where_a_label_lies(tmp_path: Path) -> None:
    bundle = with_label_affine(build(tmp_path / "bundle", Foreign(), cases=1), SHIFTED, case=0)
    (stops,) = check_bundle([str(bundle / "configs" / "inference.json")])
    assert re.search("ct_0: label must lie on the image's grid: the affines differ", stops)


def test_an_image_that_is_turned_alone_must_be_turned_back(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(steps=[ALONE[0], WINDOW]), cases=1)
    (stops,) = check_bundle([str(bundle / "configs" / "inference.json")])
    assert re.search("ct_0: label must lie on the image's grid: the affines differ", stops)


@pytest.mark.parametrize(
    "last",
    [
        {"_target_": "EnsureTyped", "keys": ["pred"], "track_meta": False},
        {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: monai.data.MetaTensor(x, affine=x.affine * 2)"},
    ],
    ids=["no affine", "another affine"],
)
def test_a_prediction_taken_back_without_a_word_is_compared(last: dict[str, Any], tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(steps=ALONE, post=[SOFTMAX, INVERT, ARGMAX, last]), cases=1)
    files = [str(bundle / "configs" / "inference.json")]
    assert not any("affines differ" in line for line in check_bundle(files))
    with_label_affine(bundle, SHIFTED, case=0)
    assert any("affines differ" in line for line in check_bundle(files))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_key": "lable"}, r"items have no 'lable', only \['image', 'label'\].*--attack#label_key"),
        ({"straight_through": "x"}, "straight_through must be true or false, got 'x'"),
        ({"seeded": 1}, "seeded must be true or false, got 1"),
        ({"identified": "yes"}, "identified must be true or false, got 'yes'"),
        ({"figures": "null"}, "figures must be true or false, got 'null'"),
        ({"progress": "x"}, "progress must be true or false, got 'x'"),
        ({"unsupervised": "x"}, "unsupervised must be true, false or null, got 'x'"),
        ({"limit": 0}, "limit must be a whole number of at least 1 or null, got 0"),
        ({"limit": 1.5}, "limit must be .*, got 1.5"),
        ({"limit": True}, "limit must be .*, got True"),
        ({"limit": "x"}, "limit must be .*, got 'x'"),
    ],
    ids=str,
)
def test_what_an_argument_cannot_be_is_named(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign())
    overrides = {f"attack#{name}": value for name, value in options.items()}
    (stops,) = check_bundle([str(bundle / "configs" / "inference.json")], overrides)
    assert re.search(message, stops)


def test_words_of_a_command_line_mean_what_they_say(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(), cases=1)
    words = {"attack#unsupervised": "false", "attack#figures": "false", "attack#limit": "null"}
    rows, _ = overlay(bundle, words)
    assert rows["Clean", "computed"]["jaccard"] < 1.0  # the labels are the reference
    assert not list((bundle / "eval").rglob("*.png"))


@pytest.mark.parametrize("options", [{"label_key": "lable"}, {}], ids=str)
def test_a_report_without_labels_says_so(options: dict[str, Any], tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(), cases=1)
    overrides = {f"attack#{name}": value for name, value in options.items()}
    rows, _ = overlay(bundle, {"attack#unsupervised": True, **overrides})
    assert rows["Clean", "computed"]["jaccard"] == 1.0
    folder = bundle / "eval" / "attack_eval"
    assert UNSUPERVISED in json.loads((folder / "report.json").read_text())["limitations"]
    assert UNSUPERVISED in (folder / "report.html").read_text()


def test_a_report_with_labels_does_not(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(), cases=1)
    overlay(bundle, {})
    assert UNSUPERVISED not in (bundle / "eval" / "attack_eval" / "report.html").read_text()


@pytest.mark.parametrize("null", [False, True], ids=["absent", "null"])
@pytest.mark.parametrize("case", [0, 1])
def test_a_case_without_a_label_among_others_fails_alone(case: int, null: bool, tmp_path: Path) -> None:
    """Where the first lacked one, all were compared with their own clean decisions."""
    bundle = build(tmp_path / "bundle", Foreign())
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    for step in [*config["preprocessing"]["transforms"], *config["postprocessing"]["transforms"]]:
        step["allow_missing_keys"] = True
    config["datalist"][case] = {"image": config["datalist"][case]["image"], **({"label": None} if null else {})}
    path.write_text(json.dumps(config))
    with pytest.raises(RuntimeError) as caught:
        run(run_id="attack_eval", config_file=[str(path), str(overlay_path())], bundle_root=str(bundle), **QUICK)
    message = f"1 of 2 cases failed: ct_{case}: ValueError: the case must have a 'label' as others have"
    assert any(message in text for text in said_by(caught.value))
    lines = (bundle / "eval" / "attack_eval" / "records.jsonl").read_text().splitlines()
    done = [r for r in map(json.loads, lines) if r["status"] == "ok"]
    assert {r["case"] for r in done} == {f"ct_{1 - case}"}
    assert all(r["jaccard"] < 1 for r in done)


def test_a_network_that_is_prompted_is_named(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(), cases=1)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["network_def"] = "$type('Prompted', (torch.nn.Conv3d,), {'forward': lambda self, x, points: x})(1, 2, 1)"
    path.write_text(json.dumps(config))
    (stops,) = check_bundle([str(path)])
    assert re.search(r"the network must take an image alone, and wants more: .*'points'.* in a module around it", stops)


def test_a_name_of_220_characters_is_cut_and_told_apart(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign())
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    for number, item in enumerate(config["datalist"]):
        file = Path(item["image"])
        item["image"] = str(file.rename(file.with_name(f"{'x' * 219}{number}.nii.gz")))
    path.write_text(json.dumps(config))
    rows, _ = overlay(bundle, {})
    assert rows["FGSM", "stored"]["cases"] == 2
    assert len(list((bundle / "eval").rglob("*_adversarial.nii.gz"))) == 2


@pytest.mark.parametrize("how", ["folders in folders", "no preamble"])
def test_a_series_that_the_bundles_reader_does_not_read(how: str, tmp_path: Path) -> None:
    bundle = with_a_series(build(tmp_path / "bundle", Foreign(), cases=1), first=True)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["datalist"] = config["datalist"][:1]
    folder = Path(config["datalist"][0]["image"])
    for file in list(folder.iterdir()):
        if how == "no preamble":
            file.write_bytes(file.read_bytes()[132:])
        else:
            (folder / "in").mkdir(exist_ok=True)
            file.rename(folder / "in" / file.name)
    path.write_text(json.dumps(config))
    (stops,) = check_bundle([str(path)])
    assert re.search("reader does not read this series: .*DicomSeriesReader reads it, or says what", stops)
    config["preprocessing"]["transforms"][0]["reader"] = "monai_smia.data.DicomSeriesReader"
    path.write_text(json.dumps(config))
    assert check_bundle([str(path)]) == []
