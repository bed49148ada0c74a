"""Algorithms of Auto3DSeg evaluated under attack: figures are those of files that their own `infer` reads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from auto3dseg_models import own_infer, write_algorithm, write_case, write_list

from monai_smia.adapters.auto3dseg import auto3dseg_evaluation
from monai_smia.cli import main

EPS = 30.0
PAPER: dict[str, Any] = {"only": ["Noise", "PGD"], "steps": 2, "preset": "paper", "progress": False, "figures": False}
KINDS: dict[str, dict[str, Any]] = {
    "CT": {"spacing": [1.8, 1.1, 2.6]},
    "MRI": {"mode": "meanstd"},
    "PET": {"mode": "pet"},
    "two images": {"extra": {"t2": "meanstd"}},
    "regions": {"sigmoid": True, "layout": "transforms"},
}


@pytest.fixture(autouse=True)
def _own_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which the command sets


def values(path: Path | str) -> np.ndarray:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj)


def jaccard(probabilities: torch.Tensor, label: np.ndarray, *, sigmoid: bool) -> float:
    """Mean over the foreground classes that decision or label hold, by hand."""
    found = probabilities.numpy()
    pairs = [(found[0] >= 0.5, label >= 1), (found[1] >= 0.5, label == 2)]
    if not sigmoid:
        pairs = [(found.argmax(0) == k, label == k) for k in (1, 2)]
    return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs if (a | b).any()]))


@pytest.mark.parametrize("kind", list(KINDS))
def test_figures_are_those_of_files(kind: str, tmp_path: Path) -> None:
    """Clean and stored, each by a fresh `InferClass` on the files alone; stored ones within the radius."""
    options = KINDS[kind]
    extra, sigmoid = tuple(options.get("extra", ())), bool(options.get("sigmoid"))
    item = write_case(tmp_path, extra=extra)
    algorithm = write_algorithm(tmp_path / "segresnet_0", **options)
    images: Any = write_list(tmp_path / "list.json", [item]) if extra else tmp_path / "images"
    labels = None if extra else tmp_path / "labels"
    settings = {"trusted": True, "eps": EPS, "output_dir": tmp_path / "out", **PAPER}
    summary = auto3dseg_evaluation(algorithm, images=images, labels=labels, **settings).run()
    rows = {(row["attack"], row["setting"], row["loss"], row["stage"]): row for row in summary["rows"]}
    label = values(item.pop("label"))
    own = own_infer(algorithm, tmp_path / "aside")
    clean = rows["Clean", "", None, "computed"]
    assert clean["jaccard"] == pytest.approx(jaccard(own.infer(item).as_tensor(), label, sigmoid=sigmoid))
    assert clean["agreement"] == 1
    attacked = rows["PGD", "equal radius", "soft_jaccard", "stored"]
    assert attacked["eps_input"] == EPS
    assert attacked["unit"] == ("" if kind in ("MRI", "PET") else "HU")
    (written,) = (tmp_path / "out" / "volumes").glob("case_pgd_soft_jaccard*_adversarial*")
    files = [written / Path(item[key]).name for key in ("image", *extra)] if written.is_dir() else [written]
    if extra:
        files = sorted(written.iterdir())
    stored = dict(zip(("image", *extra), map(str, files), strict=True))
    assert attacked["jaccard"] == pytest.approx(jaccard(own.infer(stored).as_tensor(), label, sigmoid=sigmoid))
    assert attacked["jaccard"] < clean["jaccard"] - 0.005
    for key, file in stored.items():
        change = np.abs(values(file).astype(int) - values(item[key]))
        assert 0 < change.max() <= EPS
        assert np.array_equal(nib.load(file).affine, nib.load(item[key]).affine)  # type: ignore[attr-defined]
        if "meanstd" in (options.get("mode"), *options.get("extra", {}).values()):
            assert not change[values(item[key]) == 0].any()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Auto3DSeg segresnet_0" in page
    assert "a radius has no fixed size in network units" in page
    if kind != "CT":
        return
    before = (tmp_path / "out" / "records.jsonl").read_text()
    auto3dseg_evaluation(algorithm, images=images, labels=labels, **settings).run()
    assert (tmp_path / "out" / "records.jsonl").read_text() == before  # nothing is computed twice


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two folders that average, a list of data whose labels are the fold that was left out, no radius."""
    items = [{**write_case(tmp_path, f"case{number}", seed=number), "fold": number} for number in (0, 1)]
    for item in items:
        item["image"], item["label"] = (str(Path(item[key]).relative_to(tmp_path)) for key in ("image", "label"))
    data = write_list(tmp_path / "list.json", items, "training")
    folders = [str(write_algorithm(tmp_path / f"segresnet_{fold}", fold=fold)) for fold in (1, 2)]
    out = str(tmp_path / "out")
    arguments = ["auto3dseg", *folders, "--images", str(data), "--output_dir", out, "--attacks", "Noise"]
    assert main([*arguments, "--preset", "paper"]) == 1
    assert "infer.py is a program, which decides every figure" in capsys.readouterr().err
    assert main([*arguments, "--preset", "paper", "--trusted"]) == 0
    printed = capsys.readouterr()
    assert "No radius given: 10 is 3 % of the range of intensities." in printed.out + printed.err
    records = (tmp_path / "out" / "records.jsonl").read_text()
    assert '"case1"' in records
    assert '"case0"' not in records
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Auto3DSeg mean of segresnet_1, segresnet_2" in page
    assert "1 case" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"background": "none"}, "background must be one of keep, attack, got 'none'"),
        ({"limit": 0}, "limit must be None or a whole number >= 1, got 0"),
        ({"ensemble": "most"}, "ensemble must be one of .*'mean', 'vote'.* got 'most'"),
        ({"list_key": "testing"}, "list_key and dataroot are of a list of data"),
        ({"images": "absent"}, "absent does not exist"),
        ({"labels": "absent"}, "absent does not exist"),
    ],
)
def test_arguments_are_checked_first(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_case(tmp_path)
    algorithm = write_algorithm(tmp_path / "segresnet_0")
    given = {"images": tmp_path / "images", "labels": tmp_path / "labels", **change}
    with pytest.raises(ValueError, match=message):
        auto3dseg_evaluation(algorithm, trusted=True, output_dir=tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_lists_of_data_are_checked_first(tmp_path: Path) -> None:
    item = write_case(tmp_path, extra=("t2",))
    algorithm = write_algorithm(tmp_path / "segresnet_0", extra={"t2": "meanstd"})
    options: dict[str, Any] = {"trusted": True, "output_dir": tmp_path / "out"}
    with pytest.raises(ValueError, match=r"several images \(image, t2\): give a list of data"):
        auto3dseg_evaluation(algorithm, images=tmp_path / "images", **options)
    for items, message in [
        ([{"image": item["image"]}], "has no 't2'"),
        ([{**item, "t2": str(tmp_path / "absent.nii.gz")}], r"names .*absent.nii.gz, which does not exist"),
        ([], "has no cases"),
    ]:
        data = write_list(tmp_path / "list.json", items)
        with pytest.raises(ValueError, match=message):
            auto3dseg_evaluation(algorithm, images=data, **options)
    with pytest.raises(ValueError, match=r"list_key must be one of testing, .* got 'validation'"):
        auto3dseg_evaluation(algorithm, images=data, list_key="validation", **options)
    with pytest.raises(ValueError, match=r"labels must be left out"):
        auto3dseg_evaluation(algorithm, images=data, labels=tmp_path, **options)


CHANGES: dict[str, tuple[Any, str]] = {
    "other classes": (lambda values, affine: (values * 2, affine), r"classes from 0 to 2, got 0 to 4"),
    "another place": (lambda values, affine: (values, affine @ np.diag([-1.0, 1, 1, 1])), r"lie on the image.s grid"),
    "another shape": (lambda values, affine: (values[1:], affine), r"label must have the image's shape"),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_label_that_does_not_fit_fails_its_case(change: str, tmp_path: Path) -> None:
    item = write_case(tmp_path)
    label: Any = nib.load(item["label"])
    changed, message = CHANGES[change]
    nib.save(nib.Nifti1Image(*changed(np.asarray(label.dataobj), label.affine)), item["label"])
    settings = {**PAPER, "only": ["Noise"], "output_dir": tmp_path / "out", "trusted": True}
    options = {"images": tmp_path / "images", "labels": tmp_path / "labels"}
    with pytest.raises(Exception, match=message):
        auto3dseg_evaluation(write_algorithm(tmp_path / "segresnet_0"), **options, **settings).run()
