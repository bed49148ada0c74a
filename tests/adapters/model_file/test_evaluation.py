"""Networks in files under attack: figures are those of the file itself, whatever wrote it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from model_files import Dark, program, script
from monai.inferers import sliding_window_inference
from PIL import Image
from product_helpers import cases
from torch import nn

from monai_smia.adapters.model_file import model_evaluation
from monai_smia.cli import main
from monai_smia.evaluation.errors import ConfigurationError, FailedCasesError

LOW, HIGH, EPS = -1000.0, 400.0, 60.0
PAPER: dict[str, Any] = {"only": ["Noise", "PGD"], "steps": 2, "preset": "paper", "progress": False, "figures": False}


@pytest.fixture(autouse=True)
def _own_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which the command sets


def jaccard(network: Any, image: Path, label: Path) -> float:
    """By the file's network and MONAI's window alone."""
    values: Any = nib.load(image)
    window = ((torch.tensor(values.get_fdata()).float() - LOW) / (HIGH - LOW)).clamp(0, 1)[None, None]
    with torch.no_grad():
        found = sliding_window_inference(window, (8, 8, 8), 1, network, overlap=0.25).argmax(1)[0].numpy()
    truth = np.asarray(nib.load(label).dataobj)  # type: ignore[attr-defined]
    return float(((found == 1) & (truth == 1)).sum() / ((found == 1) | (truth == 1)).sum())


def evaluation(model: Path, folder: Path, images: Path, labels: Path | None, **options: Any) -> Any:
    given = {"task": "segmentation", "roi": [8, 8, 8], "window": [LOW, HIGH], "eps": EPS, "write_volumes": "all"}
    shared: dict[str, Any] = {**given, **PAPER, **options}
    return model_evaluation(model, images=images, labels=labels, output_dir=folder, **shared)


def rows(folder: Path) -> dict[tuple[str, str], Any]:
    found = json.loads((folder / "summary.json").read_text())["rows"]
    return {
        (r["attack"], r["loss"] or ""): r for r in found if r["setting"] == "equal radius" or r["attack"] == "Clean"
    }


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of an evaluation by command line, and its data and model."""
    folder = tmp_path_factory.mktemp("file")
    images, labels = cases(folder)
    model = script(Dark(), folder / "model.ts")
    hook = sys.excepthook
    words = ["--roi", "8", "8", "8", "--window", str(LOW), str(HIGH), "--eps", str(EPS), "--steps", "2"]
    words += ["--preset", "paper", "--attacks", "Noise", "PGD", "--unit", "HU", "--write_volumes", "all"]
    try:
        assert main(["run", "--model", str(model), "--task", "segmentation", "--images", str(images)]
                    + ["--labels", str(labels), "--output_dir", str(folder / "out"), *words]) == 0  # fmt: skip
    finally:
        sys.excepthook = hook
    return folder / "out", folder


def test_figures_are_those_of_the_file_itself(tested: tuple[Path, Path]) -> None:
    out, folder = tested
    network = torch.jit.load(folder / "model.ts")
    label, source = folder / "labels" / "case0.nii.gz", folder / "images" / "case0.nii.gz"
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    clean = next(r for r in records if r["attack"] == "Clean")
    assert clean["jaccard"] == pytest.approx(jaccard(network, source, label), abs=1e-6)
    assert clean["jaccard"] > 0.9
    stored = [r["jaccard"] for r in records if r["stage"] == "stored"]
    files = (out / "volumes").glob("*_adversarial.nii.gz")
    assert len(stored) == 4
    assert sorted(stored) == pytest.approx(sorted(jaccard(network, file, label) for file in files), abs=1e-6)
    strongest = rows(out)["PGD", "soft_jaccard"]
    assert strongest["jaccard"] < rows(out)["Noise", ""]["jaccard"] < clean["jaccard"]
    assert strongest["linf"] == EPS


def test_logits_in_half_precision(tested: tuple[Path, Path], tmp_path: Path) -> None:
    """Nearly the same figures, which are said to be of these, and records of another configuration."""
    out, folder = tested
    options = {"images": folder / "images", "labels": folder / "labels", "logits": "float16", "unit": "HU"}
    evaluation(folder / "model.ts", tmp_path / "half", **options).run()
    full, half = rows(out), rows(tmp_path / "half")
    for key in (("Clean", ""), ("PGD", "soft_jaccard")):
        assert half[key]["jaccard"] == pytest.approx(full[key]["jaccard"], abs=0.02)
    page = (tmp_path / "half" / "report.html").read_text()
    assert "Logits are stitched in float16, and figures are of what they decide then." in page
    with pytest.raises(ConfigurationError, match=r"inferer.logits: torch.float16 -> torch.bfloat16"):
        evaluation(folder / "model.ts", tmp_path / "half", **{**options, "logits": "bfloat16"}).run()


def test_the_page_says_what_it_is_of(tested: tuple[Path, Path]) -> None:
    page = (tested[0] / "report.html").read_text()
    assert "model.ts (TorchScript)" in page
    assert "white box" in page
    assert "60 HU" in page


@pytest.mark.parametrize("end", ["", "softmax", "tuple", "dict"])
def test_an_exported_program_gives_the_same_figures(end: str, tested: tuple[Path, Path], tmp_path: Path) -> None:
    """Whatever it returns: its decision is the same, and so is every attack that sees the same logits."""
    _, folder = tested
    model = program(Dark(end), tmp_path / "model.pt2")
    output = {"tuple": 0, "dict": "seg"}.get(end)
    summary = evaluation(
        model, tmp_path / "out", folder / "images", folder / "labels", output=output, write_volumes="none"
    ).run()
    ours, theirs = rows(tmp_path / "out"), rows(tested[0])
    assert ours.keys() == theirs.keys()
    for key, row in ours.items():
        assert row["jaccard"] == pytest.approx(theirs[key]["jaccard"], abs=0.01 if end == "softmax" else 1e-6), key
    said = any("returns probabilities" in text for text in summary_about(tmp_path / "out"))
    assert said == (end == "softmax")
    assert summary["rows"]


def summary_about(folder: Path) -> list[str]:
    return list(json.loads((folder / "spec.json").read_text())["about"]["limitations"])


def test_one_logit_without_labels_and_a_chain_on_another_grid(tested: tuple[Path, Path], tmp_path: Path) -> None:
    """The reference is the clean decision, on the grid of the file."""
    _, folder = tested
    model = script(Dark("sigmoid", 1), tmp_path / "model.ts")
    chain = {"spacing": [1.0, 1.0, 2.5], "orientation": "RAS"}
    evaluation(model, tmp_path / "out", folder / "images", None, **chain).run()
    found = rows(tmp_path / "out")
    assert found["Clean", ""]["jaccard"] == 1
    assert found["PGD", "soft_jaccard"]["jaccard"] < found["Noise", ""]["jaccard"] < 1
    assert summary_about(tmp_path / "out")[0].startswith("No labels")
    changed: Any = nib.load(next((tmp_path / "out" / "volumes").glob("case0_pgd*adversarial.nii.gz")))
    source: Any = nib.load(folder / "images" / "case0.nii.gz")
    assert np.abs(np.asarray(changed.dataobj, int) - np.asarray(source.dataobj, int)).max() == EPS


def pictures(folder: Path) -> Path:
    """Three pictures, one brighter in each color, and a table of them."""
    (folder / "pictures").mkdir()
    lines = ["image,label,patient"]
    for number in range(3):
        pixels = np.random.default_rng(number).integers(60, 120, (10, 12, 3)).astype(np.uint8)
        pixels[..., number] += 12
        Image.fromarray(pixels).save(folder / "pictures" / f"p{number}.png")
        lines.append(f"p{number}.png,{number},{'ann' if number else 'bob'}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "pictures"


def test_a_classification_of_pictures(tmp_path: Path) -> None:
    images = pictures(tmp_path)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    with torch.no_grad():
        network[2].weight.copy_(torch.eye(3) * 30)
        network[2].bias.zero_()
    model = script(network, tmp_path / "model.ts", (1, 3, 8, 8))
    options: dict[str, Any] = {**PAPER, "eps": 20.0, "only": ["Noise", "PGD"], "window": [0, 255]}
    summary = model_evaluation(
        model,
        task="classification",
        images=images,
        labels=tmp_path / "labels.csv",
        output_dir=tmp_path / "out",
        **options,
    ).run()
    found = rows(tmp_path / "out")
    assert (found["Clean", ""]["accuracy"], found["Clean", ""]["patients"]) == (1, 2)
    assert found["PGD", ""]["accuracy"] == 0
    assert summary["rows"][0]["cases"] == 3
    assert "grey levels" in (tmp_path / "out" / "report.html").read_text()


def test_another_file_is_another_model(tested: tuple[Path, Path], tmp_path: Path) -> None:
    """Records are not mixed with those of a file of the same name."""
    _, folder = tested
    script(Dark(), tmp_path / "model.ts")
    evaluation(tmp_path / "model.ts", tmp_path / "out", folder / "images", folder / "labels", only=["Noise"]).run()
    script(Dark("softmax"), tmp_path / "model.ts")
    with pytest.raises(ConfigurationError, match=r"network\.file"):
        evaluation(tmp_path / "model.ts", tmp_path / "out", folder / "images", folder / "labels", only=["Noise"]).run()


def test_a_broken_image_is_a_case_that_failed(tested: tuple[Path, Path], tmp_path: Path) -> None:
    _, folder = tested
    images, _ = cases(tmp_path, 2)
    broken = images / "case0.nii.gz"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(FailedCasesError, match="1 of 2 cases failed: case0: "):
        evaluation(folder / "model.ts", tmp_path / "out", images, None, only=["Noise"]).run()
