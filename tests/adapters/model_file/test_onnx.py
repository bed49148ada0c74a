"""ONNX networks: attacked by scores and decisions alone, figures as those of the same network in PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from model_files import Dark, onnx, script
from product_helpers import cases

pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'monai_smia[onnx]'")

from monai_smia.adapters.model_file import load_network, model_evaluation

QUERIES = 8


def test_the_same_answers_as_in_pytorch(tmp_path: Path) -> None:
    network = Dark()
    image = torch.rand(2, 1, 9, 8, 7)
    found, kind = load_network(onnx(network.convolution, tmp_path / "model.onnx"))
    assert kind == "ONNX"
    torch.testing.assert_close(found(image), network(image).detach(), rtol=1e-4, atol=1e-4)


def test_figures_as_in_pytorch_and_the_page_says_black_box(tmp_path: Path) -> None:
    images, labels = cases(tmp_path)
    network = Dark()
    models = [onnx(network.convolution, tmp_path / "model.onnx"), script(network, tmp_path / "model.ts")]
    summaries = []
    for model in models:
        options: dict[str, Any] = {"roi": [8], "window": [-1000, 400], "eps": 60, "gradients": QUERIES}
        shared: dict[str, Any] = {"preset": "blackbox", "progress": False, "figures": False, "write_volumes": "none"}
        out = tmp_path / model.suffix
        model_evaluation(
            model, task="segmentation", images=images, labels=labels, output_dir=out, **options, **shared
        ).run()
        summaries.append(json.loads((out / "summary.json").read_text()))
    ours, theirs = ({(r["attack"], r["stage"]): r["jaccard"] for r in s["rows"]} for s in summaries)
    assert ours == pytest.approx(theirs, abs=0.01)
    assert {name for name, _ in ours} == {"Clean", "Noise", "Square", "DecisionSearch"}
    assert ours["DecisionSearch", "computed"] < ours["Clean", "computed"]
    page = (tmp_path / ".onnx" / "report.html").read_text()
    assert "black box: query access alone" in page
    assert "may do more damage" in page
    records = [json.loads(line) for line in (tmp_path / ".onnx" / "records.jsonl").read_text().splitlines()]
    assert {r["queries"] for r in records if "queries" in r} == {QUERIES + 1}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preset": "quick"}, "preset must be 'blackbox' for an ONNX network, which has no gradient, got 'quick'"),
        ({"only": ["PGD"]}, "an ONNX network has no gradient, which these attacks need: PGD"),
    ],
)
def test_what_needs_a_gradient_is_refused(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    images, _ = cases(tmp_path)
    model = onnx(Dark().convolution, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=message):
        model_evaluation(model, task="segmentation", images=images, progress=False, **given)


def test_wrong_files(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ValueError, match=r"text\.onnx is no ONNX network that onnxruntime takes"):
        load_network(tmp_path / "text.onnx")
    with pytest.raises(ValueError, match=r"two\.onnx must take an image alone, and takes 2 inputs: x, z"):
        load_network(onnx(Dark().convolution, tmp_path / "two.onnx", inputs=("x", "z")))
