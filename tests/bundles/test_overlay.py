"""The overlay on bundles that are built in different ways; their own configs are not touched."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from bundles.zoo_detection import detection
from bundles.zoo_inference import dicom_segmentation, sequences, slices
from dicom_files import planes, save
from monai.bundle import run
from monai.networks.nets import SegResNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    LoadImaged,
    Orientationd,
    ScaleIntensityRanged,
)
from PIL import Image

from bundles import zoo
from monai_smia.adapters.monai_bundle import check_configs, overlay_path
from monai_smia.adapters.monai_bundle.chain import chain_of
from monai_smia.adapters.monai_bundle.decisions import activation_of
from monai_smia.adapters.monai_bundle.parts import case_names
from monai_smia.cli import main
from monai_smia.dicom import read_dicom_series
from monai_smia.evaluation.fingerprint import weights_hash
from monai_smia.storage.pictures import PictureStorage

VALIDATE = {"attack#evaluator": "@validate#evaluator", "attack#postprocessing": "@validate#postprocessing"}
QUICK = {"attack#progress": False, "attack#figures": False, "attack#only": ["Noise", "PGD"], "write_volumes": "all"}


def attack_eval(bundle: Path, *configs: str, **overrides: Any) -> dict[tuple[str, str, str | None], dict[str, Any]]:
    """Run the overlay behind a bundle's configs; the rows by attack, stage and loss, equal radius only."""
    before = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in bundle.rglob("*") if p.is_file()}
    files = [str(bundle / "configs" / name) for name in configs] + [str(overlay_path())]
    run(run_id="attack_eval", config_file=files, bundle_root=str(bundle), **{**QUICK, **overrides})
    for path, digest in before.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    summary = json.loads((bundle / "eval" / "attack_eval" / "summary.json").read_text())
    assert not summary["failures"]
    return {(r["attack"], r["stage"], r["loss"]): r for r in summary["rows"] if r["setting"] in ("", "equal radius")}


def test_supervised_segmentation_in_the_scanner_space(tmp_path: Path) -> None:
    """JSON; ids inside `validate`; resampled and cropped; int16 NIfTI attacked on its own grid."""
    bundle = zoo.supervised_segmentation(tmp_path / "spleen")
    rows = attack_eval(bundle, "train.json", "evaluate.json", eps=0.1, steps=3, **VALIDATE)
    clean = rows["Clean", "computed", None]
    assert clean["cases"] == 2
    assert clean["jaccard"] > 0.6
    for stage in ("computed", "stored"):
        row = rows["PGD", stage, None]
        assert (row["eps"], row["eps_input"]) == (0.1, pytest.approx(140.0))
        assert row["jaccard"] < 0.5 * clean["jaccard"]
    assert rows["Noise", "computed", None]["jaccard"] > rows["PGD", "computed", None]["jaccard"] + 0.2
    written = sorted((bundle / "eval" / "attack_eval" / "volumes").glob("ct_1_pgd_equal*_adversarial.nii.gz"))
    source = nib.load(bundle / "data" / "images" / "ct_1.nii.gz")
    assert nib.load(written[0]).get_data_dtype() == np.int16
    change = np.abs(np.asarray(nib.load(written[0]).dataobj, int) - np.asarray(source.dataobj, int))
    assert 0 < change.max() <= 140


@pytest.mark.parametrize("several_files", [False, True])
def test_multi_label_without_labels(tmp_path: Path, several_files: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """YAML; z-scores of the case, on the grid of the files all the same; the clean prediction is the reference."""
    bundle = zoo.brain_tumor(tmp_path / "brats", several_files=several_files)
    rows = attack_eval(bundle, "inference.yaml", eps=0.3, steps=3, **{"attack#progress": True})
    said = capsys.readouterr().out
    assert "the clean prediction is the reference" in said
    assert "Radii are in units of the network, which takes them from each case" in said
    assert rows["Clean", "computed", None]["jaccard"] == pytest.approx(1.0)
    computed, stored = (rows["PGD", stage, None] for stage in ("computed", "stored"))
    assert computed["jaccard"] < rows["Noise", "computed", None]["jaccard"] - 0.05
    assert stored["jaccard"] == pytest.approx(computed["jaccard"], abs=0.02)  # whole units of int16
    assert computed["linf"] == pytest.approx(0.3, rel=1e-4)


@pytest.mark.parametrize("several_files", [False, True])
def test_z_scores_as_the_network_sees_them(tmp_path: Path, several_files: bool) -> None:
    bundle = zoo.brain_tumor(tmp_path / "brats", several_files=several_files)
    rows = attack_eval(bundle, "inference.yaml", eps=0.3, steps=3, **{"attack#space": "network"})
    computed, stored = (rows["PGD", stage, None] for stage in ("computed", "stored"))
    assert computed["jaccard"] < rows["Noise", "computed", None]["jaccard"] - 0.05
    assert stored["jaccard"] == pytest.approx(computed["jaccard"], abs=1e-6)
    assert computed["linf"] == pytest.approx(0.3, rel=1e-4)


def test_a_detector_with_scripts_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON; the zoo's lung nodule detector in small: its evaluator predicts boxes, the attack takes its head maps."""
    bundle = detection(tmp_path / "nodules")
    monkeypatch.syspath_prepend(str(bundle))  # as PYTHONPATH does, which the zoo's README asks for
    rows = attack_eval(bundle, "inference.json", eps=0.05, steps=4)
    for name in ("scripts", "scripts.network", "scripts.inferer", "scripts.evaluator"):
        sys.modules.pop(name)
    clean, noise, computed, stored = (
        rows[name, stage, None]
        for name, stage in (("Clean", "computed"), ("Noise", "computed"), ("PGD", "computed"), ("PGD", "stored"))
    )
    assert clean["iou"] == pytest.approx(1.0)  # its own decision is the reference
    assert computed["map50"] < noise["map50"] - 0.1
    assert stored["map50"] == pytest.approx(computed["map50"], abs=1e-6)


def test_a_classifier_of_pictures(tmp_path: Path) -> None:
    """JSON; RGB files that PILReader turns, grades as labels, attacked in grey levels on the grid of the files."""
    bundle = zoo.classifier(tmp_path / "frames")
    rows = attack_eval(bundle, "inference.json", eps=0.4, steps=3)
    clean, noise, computed, stored = (
        rows[name, stage, None]
        for name, stage in (("Clean", "computed"), ("Noise", "computed"), ("PGD", "computed"), ("PGD", "stored"))
    )
    assert clean["accuracy"] == noise["accuracy"] == 1.0
    assert computed["accuracy"] == stored["accuracy"] == 0.0
    assert computed["eps_input"] == pytest.approx(102.0)
    written = next((bundle / "eval" / "attack_eval" / "volumes").glob("frame_1_pgd_equal*_adversarial.png"))
    difference = np.asarray(Image.open(written), int) - np.asarray(Image.open(bundle / "data" / "frame_1.png"), int)
    assert difference.shape == (24, 32, 3)
    assert 0 < np.abs(difference).max() <= 102


@pytest.mark.parametrize(
    ("reader", "files"),
    [("monai_smia.data.DicomSeriesReader", True), (None, False)],
    ids=["ours, files", "default, folder"],
)
def test_a_dicom_series(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, reader: str | None, files: bool
) -> None:
    """DICOM in and out: padding is left alone by every reader, and neither the patient's name nor ID is told."""
    caplog.set_level("DEBUG")
    bundle = dicom_segmentation(tmp_path / "lungs", reader, files)
    rows = attack_eval(bundle, "inference.json", eps=0.1, steps=2, **{"attack#progress": True, "attack#figures": True})
    computed, stored = (rows["PGD", stage, None] for stage in ("computed", "stored"))
    assert (computed["unit"], computed["eps_input"]) == ("HU", pytest.approx(140.0))
    assert computed["jaccard"] < 0.8
    assert stored["jaccard"] == pytest.approx(computed["jaccard"], abs=0.01)
    output = bundle / "eval" / "attack_eval"
    written = next(output.glob("volumes/series_*_pgd_equal*_adversarial"))
    change = read_dicom_series(written).stored() - read_dicom_series(bundle / "data").stored()
    assert np.abs(change).max() == 140
    assert not change[:, :3].any()
    described = read_dicom_series(written).slices[0].header.DerivationDescription
    assert re.search(r"_pgd_.* by at most 140 HU, 140 stored units. Seed 0, model [0-9a-f]{16}\.", described)
    said = capfd.readouterr()
    assert "Postprocessing goes on to FillHolesd" in said.out
    assert [path.name for path in (bundle / "eval").iterdir()] == ["attack_eval"]  # its savers do not run
    for name in ("SECRET", "ACC-NO-1"):
        assert name not in said.out + said.err + caplog.text.replace(str(bundle / "data"), "")
        for path in output.rglob("*"):
            assert name not in path.name
            assert path.is_dir() or name.encode() not in path.read_bytes()


def test_an_image_put_together_from_several_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """YAML; ConcatItemsd; a classifier in 3-D."""
    bundle = sequences(tmp_path / "grade")
    rows = attack_eval(bundle, "inference.yaml", eps=0.5, steps=3, **{"attack#progress": True})
    assert "0.5 is 175.2, 175.2, 175.2" in capsys.readouterr().out  # half the range of all three
    written = sorted((bundle / "eval" / "attack_eval" / "volumes").glob("t1_0_pgd_equal*_adversarial/*.nii.gz"))
    assert [path.name for path in written] == ["flair_0.nii.gz", "t1_0.nii.gz", "t2_0.nii.gz"]
    assert rows["Clean", "computed", None]["accuracy"] == 1.0
    assert rows["Noise", "computed", None]["accuracy"] == 1.0
    assert rows["PGD", "computed", None]["accuracy"] == rows["PGD", "stored", None]["accuracy"] == 0.0


def test_a_volume_slice_by_slice(tmp_path: Path) -> None:
    """JSON; SliceInferer, `evaluating`; attacked in the unit of the files."""
    rows = attack_eval(slices(tmp_path / "heart"), "inference.json", eps=0.1, steps=3)
    computed, stored = (rows["PGD", stage, None] for stage in ("computed", "stored"))
    assert computed["eps_input"] == pytest.approx(140.0)
    assert computed["jaccard"] < rows["Noise", "computed", None]["jaccard"] - 0.1
    assert stored["jaccard"] == pytest.approx(computed["jaccard"], abs=0.01)


@pytest.mark.parametrize("what", ["scaled", "eps"])
def test_a_picture_that_is_not_its_file_is_not_stored(what: str, tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6, 3), 9, np.uint8)).save(tmp_path / "a.png")
    storage = PictureStorage(tmp_path, lambda path: torch.empty(0))
    image = torch.full((3, 6, 4), 0.5 if what == "scaled" else 9.0)
    eps, message = (2.0, "must hold what its RGB file") if what == "scaled" else (0.5, "at least 1")
    with pytest.raises(ValueError, match=message):
        storage.write(image, image + eps, eps=eps, source=str(tmp_path / "a.png"), stem="a")


def test_the_weights_of_a_handler_are_loaded(tmp_path: Path) -> None:
    bundle = zoo.brain_tumor(tmp_path / "brats")
    attack_eval(bundle, "inference.yaml", steps=1)
    network = SegResNet(in_channels=4, out_channels=3, init_filters=8, blocks_down=(1, 1), blocks_up=(1,))
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    written = json.loads((bundle / "eval" / "attack_eval" / "journal" / "configuration.json").read_text())
    assert written["weights"] == weights_hash(network)


def test_eps_in_the_unit_of_the_files(tmp_path: Path) -> None:
    bundle = zoo.supervised_segmentation(tmp_path / "spleen")
    options = {"attack#eps_unit": "image", "attack#limit": 1, "attack#unit": "HU", **VALIDATE}
    rows = attack_eval(bundle, "train.json", "evaluate.json", eps=42, steps=1, **options)
    row = rows["PGD", "stored", None]
    assert (row["eps"], row["eps_input"], row["unit"], row["cases"]) == (pytest.approx(0.03), 42.0, "HU", 1)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"attack#image_key": "scan"}, r"items have no 'scan', only \['image', 'label'\].*--attack#image_key"),
        ({"attack#label_key": "mask", "attack#unsupervised": False}, "items have no 'mask'.*--attack#label_key"),
        ({"validate#postprocessing#transforms": []}, "does not tell softmax from sigmoid.*--attack#activation"),
        ({"attack#space": "scaner"}, "space must be one of"),
        ({"attack#task": "registration"}, "task must be one of"),
        ({"attack#only": ["PDG"]}, r"only must name attacks of .*, got \['PDG'\]"),
        ({"attack#evaluator": "@evaluator"}, "`@evaluator` is not defined"),
        ({"images": []}, "point the bundle's dataset_dir or datalist"),
        ({"validate#preprocessing#transforms": []}, "must load the image 'image' with one LoadImaged"),
    ],
)
def test_what_is_missing_is_named(override: dict[str, Any], message: str, tmp_path: Path) -> None:
    bundle = zoo.supervised_segmentation(tmp_path / "spleen")
    with pytest.raises((ValueError, RuntimeError)) as caught:
        attack_eval(bundle, "train.json", "evaluate.json", **{**VALIDATE, **override})
    error: BaseException | None = caught.value
    said = []
    while error is not None:
        said.append(str(error))
        error = error.__cause__
    assert any(re.search(message, text) for text in said), said


def test_check_says_how_to_supply_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configs = zoo.supervised_segmentation(tmp_path / "spleen") / "configs"
    missing = check_configs([str(configs / "train.json")])
    assert [line.split()[0] for line in missing] == ["evaluator", "postprocessing"]
    assert "(there is validate#evaluator)" in missing[0]
    assert '--attack#evaluator "@validate#evaluator"' in missing[0]
    assert main(["overlay", "--check", str(configs / "train.json")]) == 1
    assert main(["overlay", "--check", str(configs / "nofile.json")]) == 1
    assert capsys.readouterr().out.endswith("nofile.json does not exist.\n")
    both = [str(configs / name) for name in ("train.json", "evaluate.json")]
    given = [part for name, value in VALIDATE.items() for part in (f"--{name}", value)]
    assert main(["overlay", "--check", *both, *given]) == 0
    assert main(["overlay", "--check", *both, *given, "--attack#space=sanner"]) == 1
    assert "space must be one of" in capsys.readouterr().out
    complete = zoo.brain_tumor(tmp_path / "brats") / "configs" / "inference.yaml"
    assert main(["overlay", "--check", str(complete)]) == 0
    assert capsys.readouterr().out.endswith("Nothing is missing.\n")


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        ([Activationsd("pred", sigmoid=True), AsDiscreted("pred", threshold=0.5)], "sigmoid"),
        ([EnsureTyped("pred"), Activationsd("pred", softmax=True)], "softmax"),
        ([AsDiscreted("pred", argmax=True)], "softmax"),
        ([AsDiscreted(["pred", "label"], threshold=0.5)], "sigmoid"),
        ([Compose([Activationsd("pred", softmax=True)])], "softmax"),
    ],
)
def test_postprocessing_tells_the_activation(transforms: list[Any], expected: str) -> None:
    assert activation_of(Compose(transforms)) == expected


def test_cases_have_names_of_their_own(tmp_path: Path) -> None:
    assert case_names(["a/ct.nii.gz", "a/mr.nii.gz"]) == ["ct", "mr"]
    assert case_names(["a/ct.nii.gz", ["b/ct.nii.gz", "b/x.nii.gz"]]) == ["a_ct", "b_ct"]
    assert case_names(["a/ct.nii.gz", "a/ct.nii"]) == ["a_ct_0000", "a_ct_0001"]
    files = save(planes(), tmp_path / "SECRET^NAME")
    (name,) = case_names([str(tmp_path / "SECRET^NAME")])
    assert re.fullmatch(r"series_[0-9a-f]{12}", name)
    assert case_names([[str(file) for file in files]]) == [name]


def test_the_twin_has_what_touches_the_image_behind_its_loader() -> None:
    label_alone = AsDiscreted("label", threshold=0.5)
    both = Orientationd(["image", "label"], "RAS", labels=None)
    window = ScaleIntensityRanged("image", -1000, 400, 0, 1)
    chain = chain_of(
        Compose([LoadImaged(["image", "label"]), EnsureChannelFirstd(["image", "label"]), both, label_alone, window]),
        "image",
        {"image": "ct.nii.gz"},
    )
    assert chain.twin == (both, window)
