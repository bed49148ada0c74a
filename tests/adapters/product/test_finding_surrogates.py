"""Transfer to a product that says something of the whole image: a number with the reader's threshold, or a class."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from product_helpers import cases

from monai_smia.adapters.product import Asking, Finding, finding_surrogates, product_evaluation
from monai_smia.adapters.product.finding_surrogates import distilled_finding
from monai_smia.adapters.product.queries import Query
from monai_smia.cli import main

DARK, EPS = -620.0, 110.0
SCRIPT = """
import json, sys
import nibabel as nib
share = float((nib.load(sys.argv[1]).get_fdata() < -620).mean())
json.dump({"findings": [{"dark": share}]}, open(sys.argv[2], "w"))
"""
SEGMENTS = """
network_def: {_target_: torch.nn.Conv3d, in_channels: 1, out_channels: 2, kernel_size: 1}
initialize: ["$@network_def.load_state_dict(torch.load(@bundle_root + '/model.pt'))"]
imports: [$import torch]
victim: {_target_: monai_smia.victims.SegmentationVictim, network: "@network_def"}
"""
CLASSIFIES = """
layer: {_target_: torch.nn.Linear, in_features: 1, out_features: 2}
initialize: ["$@layer.load_state_dict(torch.load(@bundle_root + '/model.pt'))"]
imports: [$import torch]
victim:
  _target_: monai_smia.victims.ClassificationVictim
  network: $torch.nn.Sequential(torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten(), @layer)
"""


def bundle(folder: Path, config: str) -> Path:
    """A bundle of one linear layer: the darker, the more of class 1."""
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "attack_eval.yaml").write_text(config)
    weight, bias = torch.tensor([0.01, -0.01]), torch.tensor([-0.01, 0.01]) * DARK
    shape = (2, 1, 1, 1, 1) if config is SEGMENTS else (2, 1)
    torch.save({"weight": weight.view(shape), "bias": bias}, folder / "model.pt")
    return folder


def image_of(images: Path) -> np.ndarray:
    return np.asarray(nib.load(images / "case0.nii.gz").get_fdata())  # type: ignore[attr-defined]


class Rating:
    """Says how much of an image is dark, as a number or, by the same threshold, as a class."""

    def __init__(self, answers: Finding) -> None:
        self.answers = answers

    def fingerprint_parts(self) -> dict[str, str]:
        return {"product": "rates"}

    def ask(self, query: Query, folder: Path, classes: int) -> np.ndarray:
        share = float((nib.load(query.path).get_fdata() < DARK).mean())  # type: ignore[attr-defined]
        return self.answers.of_value(share if self.answers.scored else int(share >= 0.05), classes)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return {line["attack"]: line for line in lines if line["stage"] == "computed"}


def test_transfer_from_own_networks_gives_the_number_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command line. All voxels are made brighter by the whole radius, or darker."""
    monkeypatch.setattr(finding_surrogates, "STEPS", 30)
    images, _ = cases(tmp_path)
    (tmp_path / "rate.py").write_text(SCRIPT)
    (tmp_path / "labels.csv").write_text("image,label\ncase0,1\n")
    line = ["blackbox", "--command", f"{sys.executable} {tmp_path / 'rate.py'} {{input}} {{output}}"]
    line += ["--read", "findings.0.dark", "--threshold", "0.05", "--images", str(images), "--eps", str(EPS)]
    line += ["--labels", str(tmp_path / "labels.csv"), "--queries", "1", "--output_dir", str(tmp_path / "out")]
    own = [str(bundle(tmp_path / "rates", CLASSIFIES)), str(bundle(tmp_path / "segments", SEGMENTS))]
    hook = sys.excepthook
    assert main([*line, "--transfer", *own, "--distil", "5"]) == 0
    sys.excepthook = hook
    found, image = records(tmp_path / "out"), image_of(images)
    brighter = (image + EPS < DARK).mean()
    darker = (image - EPS < DARK).mean()
    assert found["Clean"]["answer"] == pytest.approx((image < DARK).mean())
    assert found["Transfer(rates)"]["answer"] == pytest.approx(brighter)
    assert found["Transfer(segments to class 0)"]["answer"] == pytest.approx(brighter)
    assert found["Transfer(segments to class 1)"]["answer"] == pytest.approx(darker)
    assert brighter < 0.05  # the decision has turned, which noise does not do
    assert found["Transfer(rates)"]["accuracy"] == found["Transfer(segments to class 0)"]["accuracy"] == 0.0
    assert found["Noise"]["accuracy"] == 1.0
    for name in (name for name in found if "Transfer" in name):
        assert found[name]["queries"] == 1
        assert found[name]["linf"] <= EPS
    page = (tmp_path / "out" / "report.html").read_text()
    assert "transfer: surrogates rates, segments, distilled are known, weights and all" in page
    assert "distilled on 4 of the product&#39;s answers and decides" in page


def test_a_surrogate_learns_the_number_and_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    images, _ = cases(tmp_path)
    product = Rating(Finding("dark", threshold=0.05))
    items = [{"image": str(images / "case0.nii.gz"), "case": "case0"}]
    found = []
    for name in ("a", "b"):
        asking = Asking(product, 2, tmp_path / name)
        victim, told = distilled_finding(asking, items, queries=30, eps=EPS, seed=1)
        found.append((victim, told))
        assert asking.asked <= 30
    explained = re.search(r"decides \d of 6 others as the product does, and explains (\d+)%", found[0][1])
    assert explained is not None
    assert int(explained[1]) >= 50
    image = torch.from_numpy(image_of(images)).float()[None, None]
    both = [victim.infer(image) for victim, _ in found]
    assert torch.equal(*both)
    assert found[0][1] == found[1][1]
    assert int(both[0].argmax(1)) == 1
    assert int(found[0][0].infer(image + 300).argmax(1)) == 0  # nothing dark is left of it


def test_a_distilled_surrogate_is_stronger_than_noise(tmp_path: Path) -> None:
    images, _ = cases(tmp_path)
    product = Rating(Finding("dark", threshold=0.05))
    options: dict[str, Any] = {"eps": EPS, "queries": 1, "distil": 30, "figures": False, "progress": False}
    product_evaluation(product, images=images, output_dir=tmp_path / "out", **options).run()
    found = records(tmp_path / "out")
    assert found["Transfer(distilled)"]["answer"] < 0.5 * found["Noise"]["answer"]


@pytest.mark.parametrize("below", [False, True])
def test_a_surrogate_of_classes_turns_a_decision(below: bool, tmp_path: Path) -> None:
    """The number is not told, or class 1 lies below the threshold."""
    images, _ = cases(tmp_path)
    kind = Finding("dark", threshold=0.05, below=True) if below else Finding("class")
    options: dict[str, Any] = {"eps": 150.0, "queries": 1, "distil": 40, "figures": False, "progress": False}
    product_evaluation(Rating(kind), images=images, output_dir=tmp_path / "out", **options).run()
    found = records(tmp_path / "out")
    assert found["Clean"]["decided"] == int(not below)
    assert found["Noise"]["accuracy"] == 1.0
    assert found["Transfer(distilled)"]["accuracy"] == 0.0


def test_one_answer_to_all_is_said_to_teach_nothing(tmp_path: Path) -> None:
    class Constant(Rating):
        def ask(self, query: Query, folder: Path, classes: int) -> np.ndarray:
            return np.asarray([1.0])

    images, _ = cases(tmp_path)
    asking = Asking(Constant(Finding("class")), 2, tmp_path / "asked")
    items = [{"image": str(images / "case0.nii.gz"), "case": "case0"}]
    _, told = distilled_finding(asking, items, queries=5, eps=EPS, seed=0)
    assert told.startswith("The surrogate was distilled on 4 of the product's answers and decides 1 of 1 others as the")
    assert told.endswith("It was shown one answer alone, and can tell no other.")
