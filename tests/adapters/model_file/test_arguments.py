"""What is wrong is said in a sentence, before anything is computed."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from model_files import Dark, program, script
from product_helpers import cases
from torch import nn

from monai_smia.adapters.model_file import load_network, model_evaluation
from monai_smia.cli import main


class Runs:
    """Unpickled, it would end the tests."""

    def __reduce__(self) -> Any:
        return sys.exit, ("a pickle was opened",)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, whole and not, and data."""
    folder = tmp_path_factory.mktemp("files")
    cases(folder)
    network = Dark()
    script(network, folder / "model.ts")
    script(nn.Conv3d(2, 2, 1), folder / "two.ts", (1, 2, 8, 8, 8))
    script(nn.Conv2d(1, 2, 1), folder / "flat.ts", (1, 1, 8, 8))
    script(nn.Sequential(nn.AvgPool3d(2), nn.Conv3d(1, 2, 1)), folder / "half.ts")
    script(Dark("tuple"), folder / "tuple.ts")
    script(Dark(channels=1), folder / "one.ts")
    program(network, folder / "model.pt2")
    torch.save(network.state_dict(), folder / "weights.pt")
    torch.save(network.state_dict(), folder / "older.pt", _use_new_zipfile_serialization=False)
    (folder / "text.ts").write_text("no model")
    (folder / "cut.ts").write_bytes((folder / "model.ts").read_bytes()[:900])
    (folder / "empty.ts").touch()
    (folder / "model.onnx").write_bytes(b"\x08\x07")
    (folder / "nothing").mkdir()
    hidden = io.BytesIO()
    torch.save(Runs(), hidden)
    with zipfile.ZipFile(folder / "model.pt2") as plain, zipfile.ZipFile(folder / "runs.pt2", "w") as changed:
        for name in plain.namelist():
            changed.writestr(name, hidden.getvalue() if "sample_inputs" in name else plain.read(name))
    return folder


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "no.ts"}, "model .*no.ts does not exist."),
        ({"model": "weights.pt"}, "weights.pt holds weights, or a pickled network, .* are not opened."),
        ({"model": "older.pt"}, "older.pt holds weights, or a pickled network"),
        ({"model": "text.ts"}, "text.ts is cut off or no model: give a TorchScript file"),
        ({"model": "cut.ts"}, "cut.ts is cut off or no model"),
        ({"model": "empty.ts"}, "model empty.ts is empty"),
        ({"model": "nothing"}, "model nothing is a folder"),
        ({"model": "runs.pt2"}, r"runs.pt2 holds pickled objects \(data/sample_inputs/model.pt\), which run what they"),
        ({"model": "two.ts"}, r"two.ts takes images of 2 channels, and they have 1 \(it was given 1 x 1 x 8 x 8 x 8\)"),
        ({"model": "flat.ts"}, "flat.ts does not take what it was given, 1 x 1 x 8 x 8 x 8"),
        ({"model": "half.ts"}, "half.ts must return scores .* on the grid of what it was given"),
        ({"model": "model.pt2", "roi": [16]}, "model.pt2 does not take what it was given, 1 x 1 x 16 x 16 x 16"),
        ({"model": "tuple.ts"}, r"several outputs \(0: \(1, 2, 8, 8, 8\), 1: \(1, 1, 8, 8, 8\)\): output must name"),
        ({"model": "tuple.ts", "output": "2"}, "output must name the tensor that counts, got '2'"),
        ({"output": "seg"}, "output must be None or 0 of a network that returns one tensor, got 'seg'"),
        ({"model": "one.ts", "activation": "softmax"}, "activation must be sigmoid: one.ts returns one channel"),
        ({"returns": "probabilities"}, "returns must be logits: model.ts returned values that no softmax returns"),
        (
            {"task": "detection"},
            r"task must be one of \('segmentation', .*, 'regression'\), got 'detection'",
        ),
        ({"task": "classification"}, "roi must be left out of a classification"),
        ({"task": "classification", "roi": None}, r"must return scores \(batch, classes\) of a classification"),
        ({"labels": "nothing"}, "a case has no label: case0.nii.gz is not in nothing."),
        ({"labels": "absent"}, "absent does not exist: labels are a folder of files named CASE.nii.gz."),
        ({"labels": "images"}, "case0: the label must hold whole numbers >= 0"),
        ({"images": "nothing"}, "nothing must hold NIfTI files or DICOM series, or pictures."),
        ({"roi": [0]}, "roi must be one to three sizes in voxels, at least 1"),
        ({"roi": [8, 8]}, r"roi must have a size for each of the image's 3 axes, got \[8, 8\]"),
        ({"overlap": 1.0}, "overlap must be at least 0 and below 1"),
        ({"blend": "mean"}, "blend must be one of"),
        ({"window": [400, -1000]}, "window must be two intensities, the lower one first"),
        ({"spacing": [0]}, "spacing must be one to three sizes in mm, above 0"),
        ({"orientation": "RAR"}, "orientation must name every axis once"),
        ({"preprocessing": "absent"}, "leave out orientation, spacing and window"),
        ({"preset": "quik"}, "did you mean quick?"),
        ({"eps": "much"}, "eps"),
        ({"clip": [1, 0]}, "clip must be two values, the lower one first"),
        ({"limit": 0}, "limit must be None or a whole number >= 1"),
        ({"class_names": ["a"]}, "class_names must hold a name for each of the 2 channels"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], message: str, files: Path, tmp_path: Path) -> None:
    shared: dict[str, Any] = {"model": "model.ts", "task": "segmentation", "images": "images", "roi": [8]}
    arguments = {"window": [-1000, 400], "progress": False, "output_dir": tmp_path / "out", **shared, **given}
    for name in ("model", "images", "labels"):
        if name in arguments:
            arguments[name] = files / arguments[name]
    with pytest.raises(ValueError, match=message) as raised:
        model_evaluation(**arguments)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_the_command_says_it_in_one_line(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    words = ["run", "--model", str(files / "weights.pt"), "--task", "segmentation", "--images", str(files / "images")]
    assert main(words) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("weights.pt holds weights")


def test_where_onnxruntime_is_not_installed(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=re.escape("pip install 'monai_smia[onnx]'")):
        load_network(files / "model.onnx")
