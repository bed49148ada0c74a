"""A file whose network predicts numbers: figures by hand, labels out of a table, and what is refused."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles.landmarks import Landmarks, spots
from model_files import script
from PIL import Image

from monai_smia.cli import main


@pytest.fixture(autouse=True)
def _own_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which the command sets


def files(folder: Path, *, labels: str = "") -> list[str]:
    """The words of a command on two pictures and a TorchScript of the landmarks."""
    lines = ["image,label"]
    for seed in range(2):
        image, label = spots(seed, shift=seed)
        Image.fromarray(image).save(folder / f"case_{seed}.png")
        lines.append(f"case_{seed}.png,{labels or ' '.join(map(str, label.flatten()))}")
    (folder / "labels.csv").write_text("\n".join(lines))
    model = script(Landmarks(), folder / "model.ts", (1, 1, *image.shape))
    words = ["run", "--model", str(model), "--task", "regression", "--images", *map(str, sorted(folder.glob("*.png")))]
    words += ["--labels", str(folder / "labels.csv"), "--output_dir", str(folder / "out"), "--window", "0", "255"]
    return [*words, "--eps", "20", "--attacks", "Noise", "FGSM", "--preset", "paper", "--steps", "2"]


def test_the_figures_are_those_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([*files(tmp_path), "--within", "1", "--point_axis", "1"])
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    rows = {(row["attack"], row["stage"]): row for row in summary["rows"] if row["setting"] in ("", "equal radius")}
    network, errors = torch.jit.load(tmp_path / "model.ts"), []
    for seed in range(2):
        image, label = spots(seed, shift=seed)
        found = network(torch.from_numpy(image)[None, None].float() / 255)[0].detach().numpy()
        errors.append(np.linalg.norm(found - label, axis=0))
    clean = rows["Clean", "computed"]
    assert clean["error_mean"] == pytest.approx(float(np.mean(errors)), abs=1e-5)
    assert clean["error_max"] == pytest.approx(float(np.mean([e.max() for e in errors])), abs=1e-5)
    assert clean["share_right"] == rows["Noise", "computed"]["share_right"] == 1
    assert rows["FGSM", "computed"]["share_right"] < 1
    told = "The network predicts 3 points (2 x 3); right are those that are at most 1 off."
    assert told in capsys.readouterr().out
    assert told in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        ("", [], "within must be a number > 0, .* got None"),
        ("1 2 3", ["--within", "1"], "the label must hold the 6 numbers that the network predicts, got 3"),
        ("1,5", ["--within", "1"], "labels.csv has more fields than columns in the row of case_0: a comma in a number"),
        ("1\ncase_0.png,2", ["--within", "1"], "labels.csv has several rows of case_0, whose labels differ"),
        ("left", ["--within", "1"], "labels.csv must hold numbers with blanks between, .* got 'left'"),
        ("", ["--within", "1", "--roi", "8", "8"], "roi must be left out of a regression"),
        (
            "",
            ["--within", "1", "--activation", "softmax"],
            "activation must be left out of a regression",
        ),
        ("", ["--within", "1", "--logits", "float16"], "logits must be one of ..float32.,."),
    ],
)
def test_what_is_refused(
    labels: str, options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*files(tmp_path, labels=labels), *options]) == 1
    assert re.search(said, " ".join(capsys.readouterr().err.split()))


def test_one_number_of_an_image_and_a_label_that_is_put_right(tmp_path: Path) -> None:
    """A label out of a table is in no file of the case: the records of another one must not stand."""
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(0))
    words = files(tmp_path, labels="0.25")
    script(network, tmp_path / "model.ts", (1, 1, 24, 20))
    expected = np.mean([spots(seed, shift=seed)[0].mean() / 255 for seed in range(2)])
    for truth in ("0.25", "0.75"):
        table = tmp_path / "labels.csv"
        table.write_text(f"image,label\ncase_0.png,{truth}\ncase_1.png,{truth}\n")
        main([*words, "--within", "1"])
        clean = json.loads((tmp_path / "out" / "summary.json").read_text())["rows"][0]
        assert clean["error_mean"] == pytest.approx(abs(expected - float(truth)), abs=1e-5)
