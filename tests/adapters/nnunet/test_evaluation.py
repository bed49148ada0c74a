"""A trained nnU-Net evaluated under attack: figures are those of the files that it writes and reads itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

nnunetv2 = pytest.importorskip("nnunetv2", reason="needs nnunetv2: pip install 'monai_smia[nnunet]'")

from nnunet_models import CT, ZSCORE, write_image, write_label, write_model  # noqa: E402

from monai_smia.adapters.nnunet import NNUNetVictim, nnunet_evaluation  # noqa: E402
from monai_smia.cli import main  # noqa: E402

EPS = 24.0
SHAPE = (14, 13, 9)
PAPER = {"only": ["Noise", "PGD"], "steps": 2, "preset": "paper", "progress": False, "figures": False}


@pytest.fixture(autouse=True)
def _own_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which the command sets


def data(folder: Path, channels: int = 1, cases: int = 1, *, masked: bool = False) -> tuple[Path, Path]:
    """Images and labels as nnU-Net lays them out."""
    mri = {"masked": True, "low": 100} if masked else {}
    for case in range(cases):
        for channel in range(channels):
            path = folder / "images" / f"case{case}_{channel:04d}.nii.gz"
            write_image(path, SHAPE, seed=5 * case + channel, **mri)
        write_label(folder / "labels" / f"case{case}.nii.gz", folder / "images" / f"case{case}_0000.nii.gz")
    return folder / "images", folder / "labels"


def values(path: Path | str) -> np.ndarray:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj)


def jaccard(decided: np.ndarray, label: np.ndarray) -> float:
    """Mean over the foreground classes that either holds."""
    scores = []
    for k in (1, 2):
        a, b = decided == k, label == k
        if (a | b).any():
            scores.append((a & b).sum() / (a | b).sum())
    return float(np.mean(scores))


def own(model: Path, files: list[Path], out: Path) -> np.ndarray:
    """The file that a fresh predictor writes."""
    predictor = NNUNetVictim.from_folder(model).deployed.predictor
    out.mkdir(exist_ok=True)
    predictor.predict_from_files_sequential([[str(f) for f in files]], [str(out / "x")])
    return values(out / "x.nii.gz")


@pytest.mark.parametrize("sequences", [1, 2])
def test_figures_are_those_of_nnunets_own_files(sequences: int, tmp_path: Path) -> None:
    """Clean and stored: whole numbers within the radius, each file on its own grid, segmented by nnU-Net alone."""
    schemes = (CT,) if sequences == 1 else (ZSCORE, ZSCORE)
    images, labels = data(tmp_path, sequences, masked=sequences == 2)
    model = write_model(tmp_path / "model", schemes=schemes, masked=sequences == 2, folds=2, mirror=(0, 2))
    options: dict[str, Any] = {"images": images, "labels": labels, "output_dir": tmp_path / "out", "eps": EPS}
    summary = nnunet_evaluation(model, **options, **PAPER).run()
    label = values(labels / "case0.nii.gz")
    rows = {(row["attack"], row["setting"], row["loss"], row["stage"]): row for row in summary["rows"]}
    sources = sorted(images.iterdir())
    clean = rows["Clean", "", None, "computed"]
    assert clean["jaccard"] == pytest.approx(jaccard(own(model, sources, tmp_path / "x"), label))
    assert 0.95 < clean["agreement"] <= 1
    attacked = rows["PGD", "equal radius", "soft_jaccard", "stored"]
    assert attacked["eps_input"] == EPS
    assert attacked["unit"] == ("HU" if sequences == 1 else "")
    (folder,) = (tmp_path / "out" / "volumes").glob("case0_pgd_soft_jaccard*_adversarial")
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [file.name for file in sources]
    assert attacked["jaccard"] == pytest.approx(jaccard(own(model, files, tmp_path / "x"), label))
    assert attacked["jaccard"] < clean["jaccard"] - 0.01
    largest = 0
    for file, source in zip(files, sources, strict=True):
        stored, before = nib.load(file), nib.load(source)
        assert stored.get_data_dtype() == np.int16  # type: ignore[attr-defined]
        assert np.array_equal(stored.affine, before.affine)  # type: ignore[attr-defined]
        change = np.abs(values(file).astype(int) - values(source))
        largest = max(largest, int(change.max()))
        assert change.max() > 0
        if sequences == 2:
            assert not change[values(source) == 0].any()  # what lies around the body
    assert largest == EPS
    before = (tmp_path / "out" / "records.jsonl").read_text()
    nnunet_evaluation(model, **options, **PAPER).run()
    assert (tmp_path / "out" / "records.jsonl").read_text() == before  # nothing is computed twice


def test_without_labels_the_clean_decision_is_the_reference(tmp_path: Path) -> None:
    images, _ = data(tmp_path)
    model = write_model(tmp_path / "model", mirror=None)
    options = {**PAPER, "only": ["Noise"]}
    summary = nnunet_evaluation(model, images=images, output_dir=tmp_path / "out", **options).run()
    assert summary["rows"][0]["jaccard"] == 1
    assert summary["rows"][1]["eps_input"] == 24  # 3 % of 800 HU
    page = (tmp_path / "out" / "report.html").read_text()
    assert "No labels: the reference is the clean decision" in page
    assert "nnU-Net Dataset001_Tiny nnUNetTrainer__nnUNetPlans__3d_fullres" in page


def test_zeros_around_the_body_are_attacked_where_that_is_asked_for(tmp_path: Path) -> None:
    images, labels = data(tmp_path, masked=True)
    model = write_model(tmp_path / "model", schemes=(ZSCORE,), masked=True, mirror=None)
    changed = {}
    for background in ("keep", "attack"):
        out = tmp_path / background
        options: dict[str, Any] = {**PAPER, "only": ["Noise"], "write_volumes": "all", "background": background}
        nnunet_evaluation(model, images=images, labels=labels, output_dir=out, eps=EPS, **options).run()
        (folder,) = (out / "volumes").glob("*_adversarial")
        source = values(images / "case0_0000.nii.gz")
        changed[background] = float((values(folder / "case0_0000.nii.gz") != source)[source == 0].mean())
    assert changed["keep"] == 0
    assert changed["attack"] > 0.9


@pytest.mark.parametrize("reader", ["NibabelIO", "NibabelIOWithReorient", "SimpleITKIOWithReorient"])
def test_readers_that_turn_the_axes(reader: str, tmp_path: Path) -> None:
    """A file of any orientation is attacked as it is read and stored as it was."""
    images, labels = data(tmp_path)
    for file in (images / "case0_0000.nii.gz", labels / "case0.nii.gz"):
        image: Any = nib.load(file)
        turned = image.as_reoriented([[2, -1], [0, 1], [1, -1]])
        nib.save(nib.Nifti1Image(np.asarray(turned.dataobj).astype(image.get_data_dtype()), turned.affine), file)
    model, source = write_model(tmp_path / "model", reader=reader, mirror=None), images / "case0_0000.nii.gz"
    options: dict[str, Any] = {"images": images, "labels": labels, "output_dir": tmp_path / "out", "eps": EPS}
    summary = nnunet_evaluation(model, **options, **{**PAPER, "only": ["FGSM"], "figures": True}).run()
    clean, computed, stored = summary["rows"]
    assert clean["agreement"] > 0.95
    assert clean["jaccard"] == pytest.approx(
        jaccard(own(model, [source], tmp_path / "x"), values(labels / "case0.nii.gz"))
    )
    (file,) = (tmp_path / "out" / "volumes").glob("*_adversarial/*")
    change = np.abs(values(file).astype(int) - values(source))
    assert change.max() == EPS
    assert (change == EPS).mean() > 0.5
    assert stored["jaccard"] == pytest.approx(
        jaccard(own(model, [file], tmp_path / "x"), values(labels / "case0.nii.gz"))
    )
    assert computed["jaccard"] == pytest.approx(stored["jaccard"], abs=0.02)


@pytest.mark.parametrize("regions", [False, True])
def test_classes_or_regions_and_an_ignored_label(regions: bool, tmp_path: Path) -> None:
    """Every one has its figures; ignored voxels count in none."""
    images, labels = data(tmp_path)
    members = {"whole": (1, 2), "core": (2,)} if regions else {"organ": (1,), "lesion": (2,)}
    named = {name: list(values) if regions else values[0] for name, values in members.items()}
    order = [1, 2] if regions else None
    names = {"background": 0, **named, "ignore": 3}
    model = write_model(tmp_path / "model", labels=names, regions_class_order=order, mirror=None)
    label: Any = nib.load(labels / "case0.nii.gz")
    marked = np.asarray(label.dataobj).copy()
    marked[:, :, :3] = 3
    nib.save(nib.Nifti1Image(marked, label.affine), labels / "case0.nii.gz")
    options = {**PAPER, "only": ["Noise"]}
    summary = nnunet_evaluation(model, images=images, labels=labels, output_dir=tmp_path / "o", eps=1, **options).run()
    decided = own(model, [images / "case0_0000.nii.gz"], tmp_path / "x")
    counted, scores = marked != 3, []
    for name, values_of in members.items():
        a, b = np.isin(decided, values_of) & counted, np.isin(marked, values_of) & counted
        scores.append((a & b).sum() / (a | b).sum())
        assert summary["rows"][0][f"jaccard_{name}"] == pytest.approx(scores[-1])
    assert summary["rows"][0]["jaccard"] == pytest.approx(np.mean(scores))


@pytest.mark.parametrize("kind", ["color pictures", "flat NIfTI", "four dimensions"])
def test_other_files(kind: str, tmp_path: Path) -> None:
    """Color pictures are one file of three channels, flat images have two axes, those of four hold sequences."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    if kind == "color pictures":
        scheme, reader = ("RGBTo01Normalization",) * 3, "NaturalImage2DIO"
        options: dict[str, Any] = {"patch": (16, 16), "spacing": (1.0, 1.0), "file_ending": ".png", "reader": reader}
        pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(images / "a_0000.png")
        Image.fromarray((pixels[..., 0] // 86).astype(np.uint8)).save(labels / "a.png")
    elif kind == "flat NIfTI":
        scheme, options = (ZSCORE,), {"patch": (16, 16), "spacing": (1.0, 1.0)}
        write_label(labels / "a.nii.gz", write_image(images / "a_0000.nii.gz", (20, 24), (1.1, 1.1)))
    else:
        scheme, options = (ZSCORE, ZSCORE), {}
        write_label(labels / "a.nii.gz", write_image(images / "a_0000.nii.gz", SHAPE))
        image: Any = nib.load(images / "a_0000.nii.gz")
        both = np.stack([np.asarray(image.dataobj), np.asarray(image.dataobj)[::-1]], -1)
        nib.save(nib.Nifti1Image(both, image.affine), images / "a_0000.nii.gz")
    model = write_model(tmp_path / "model", schemes=scheme, mirror=None, **options)
    plan = {**PAPER, "figures": True, "only": ["FGSM"]}
    summary = nnunet_evaluation(model, images=images, labels=labels, output_dir=tmp_path / "o", eps=20, **plan).run()
    clean, computed, stored = summary["rows"]
    assert clean["agreement"] > 0.95
    assert computed["linf"] == stored["linf"] == 20
    assert computed["jaccard"] == pytest.approx(stored["jaccard"], abs=0.05)
    assert list((tmp_path / "o" / "figures").iterdir())


def test_one_command_makes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = data(tmp_path, cases=2)
    model, out = write_model(tmp_path / "model", folds=2, mirror=None), tmp_path / "out"
    command = ["nnunet", str(model), "--images", str(images), "--labels", str(labels), "--output_dir", str(out)]
    command += ["--eps", "10", "20", "--attacks", "FGSM", "--folds", "1", "--limit", "1"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "Mean jaccard: " in said
    assert f"Report: {out / 'report.html'}" in said
    report = json.loads((out / "report.json").read_text())
    assert [row["eps_input"] for row in report["rows"] if row["stage"] == "computed"] == [None, 10, 20]
    assert report["data"]["cases"] == 1
    with pytest.raises(SystemExit) as ended:
        main([*command, "--accept", "jaccard >= 1 at 10 HU"])
    assert ended.value.code == 3


def _cut(folder: Path) -> None:
    path = folder / "images" / "case0_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:100])


def _smaller(folder: Path) -> None:
    path = folder / "labels" / "case0.nii.gz"
    label: Any = nib.load(path)
    nib.save(nib.Nifti1Image(values(path)[:-1], label.affine), path)


def _elsewhere(folder: Path) -> None:
    path = folder / "images" / "case0_0001.nii.gz"
    image: Any = nib.load(path)
    nib.save(nib.Nifti1Image(values(path), image.affine @ np.diag([1, 1, 1.5, 1])), path)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda f: (f / "images" / "case0_0001.nii.gz").unlink(), [], "case case0 has no channel 0001 (channel 1)"),
        (lambda f: write_image(f / "images" / "case0_0002.nii.gz"), [], "case case0 has 3 channels"),
        (lambda f: (f / "labels" / "case0.nii.gz").unlink(), [], "case case0 has no label"),
        (_smaller, [], "must lie on the grid of"),
        (_elsewhere, [], "has voxels of another size, place or direction"),
        (_cut, [], "case0_0000.nii.gz is damaged"),
        (lambda f: None, ["--folds", "4"], "folds must be of those that have checkpoint_final.pth, 0, got 4"),
        (
            lambda f: None,
            ["--images", "nowhere"],
            "nowhere does not exist: images are folders or files named CASE_0000",
        ),
        (lambda f: None, ["--labels", "nowhere"], "nowhere does not exist: labels are a folder"),
        (lambda f: None, ["--eps", "-1"], "eps must be a finite number >= 0"),
        (lambda f: None, ["--attacks", "Magic"], "got ['Magic']"),
        (lambda f: None, ["--device", "abacus"], "device must be one that is here, such as cpu, got 'abacus'"),
        (lambda f: None, ["--background", "no"], "background must be one of keep, attack"),
        (lambda f: None, ["--limit", "0"], "limit must be None or a whole number >= 1"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_computed(
    change: Any, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = data(tmp_path, channels=2)
    model = write_model(tmp_path / "model", schemes=(CT, CT), mirror=None)
    change(tmp_path)
    command = ["nnunet", str(model), "--images", str(images), "--labels", str(labels)]
    assert main([*command, "--output_dir", str(tmp_path / "out"), *arguments]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()
