"""Transfer to a product: from a bundle's network, and from one that is distilled on the product's answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from product_helpers import InProcess, cases

from monai_smia.adapters.product import Asking, Finding, product_evaluation, surrogates
from monai_smia.adapters.product.surrogates import distilled
from monai_smia.cli import main

VICTIM = """
network_def: {_target_: torch.nn.Conv3d, in_channels: 1, out_channels: 2, kernel_size: 1}
initialize: ["$@network_def.load_state_dict(torch.load(@bundle_root + '/model.pt'))"]
imports: [$import torch]
victim: {_target_: monai_smia.victims.SegmentationVictim, network: "@network_def"}
"""


def bundle(folder: Path, threshold: float = -620.0) -> Path:
    """A bundle whose network calls dark what is below a threshold, as the product does."""
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "attack_eval.yaml").write_text(VICTIM)
    weight = torch.tensor([0.01, -0.01]).view(2, 1, 1, 1, 1)
    bias = torch.tensor([-0.01 * threshold, 0.01 * threshold])
    torch.save({"weight": weight, "bias": bias}, folder / "model.pt")
    return folder


def records(folder: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return {line["attack"]: line for line in lines if line["stage"] == "computed"}


def test_transfer_is_asked_for_once_and_the_page_says_what_was_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surrogates, "STEPS", 100)
    images, labels = cases(tmp_path)
    options: dict[str, Any] = {"eps": 60.0, "queries": 2, "figures": False, "progress": False}
    options |= {"transfer": [bundle(tmp_path / "own")], "distil": 10}
    evaluation = product_evaluation(InProcess(), images=images, labels=labels, output_dir=tmp_path / "out", **options)
    evaluation.run()
    found = records(tmp_path / "out")
    assert {"Transfer(own)", "Transfer(distilled)"} < set(found)
    # the product's own threshold, known: a strong attack
    assert found["Transfer(own)"]["jaccard"] < found["DecisionSearch"]["jaccard"] < found["Clean"]["jaccard"]
    assert found["Transfer(distilled)"]["jaccard"] < found["Noise"]["jaccard"]
    for name in ("Transfer(own)", "Transfer(distilled)"):
        assert found[name]["queries"] == 1
        assert found[name]["linf"] <= 60
    page = (tmp_path / "out" / "report.html").read_text()
    assert "transfer: surrogates own, distilled are known, weights and all, the product by its answers alone" in page
    text = re.search(r"distilled on 8 of the product&#39;s answers and agrees with 2 others at a Jaccard index of ([\d.]+)", page)  # fmt: skip  # noqa: E501
    assert text is not None
    assert float(text[1].rstrip(".")) > 0.4
    asked = sum("asked" in json.loads(line) for line in (tmp_path / "out" / "product" / "queries.jsonl").open())
    again = product_evaluation(InProcess(), images=images, labels=labels, output_dir=tmp_path / "out", **options)
    again.run()
    now = sum("asked" in json.loads(line) for line in (tmp_path / "out" / "product" / "queries.jsonl").open())
    assert now == asked + 1  # whether it is the same product: what it was distilled on is kept
    assert records(tmp_path / "out") == found


def test_a_surrogate_is_the_same_for_the_same_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogates, "STEPS", 5)
    images, _ = cases(tmp_path)
    items = [{"image": str(images / "case0.nii.gz"), "case": "case0"}]
    found = []
    for name in ("a", "b"):
        asking = Asking(InProcess(), 2, tmp_path / name)
        victim, told = distilled(asking, items, queries=5, eps=60.0, seed=3)
        image = torch.from_numpy(nib.load(images / "case0.nii.gz").get_fdata()[None, None]).float()  # type: ignore[attr-defined]
        found.append((victim.predict(image).detach().numpy(), told))
        assert asking.asked == 5
    assert np.array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"transfer": ["no-such-bundle"]},
            "transfer must be a bundle with configs/attack_eval.yaml, or one of ct_lung",
        ),
        ({"transfer": ["fundus_dr_grading"]}, "transfer must be from segmentations, and fundus_dr_grading has a"),
        ({"distil": 3}, "distil must be a number of queries >= 5, or 0, got 3"),
        ({"distil": -1}, "distil must be"),
        ({"distil": 5, "preset": "shifts"}, "transfer and distil are of the preset 'blackbox'"),
    ],
)
def test_surrogates_that_cannot_be_are_refused(options: dict[str, Any], text: str, tmp_path: Path) -> None:
    images, _ = cases(tmp_path)
    with pytest.raises(ValueError, match=text):
        product_evaluation(InProcess(), images=images, output_dir=tmp_path / "out", progress=False, **options)


def test_shifts_of_a_product_are_its_answers_to_stored_images(tmp_path: Path) -> None:
    """Every whole HU offset is asked about, and the worst is the one that a threshold says."""
    images, labels = cases(tmp_path)
    options: dict[str, Any] = {"preset": "shifts", "figures": False, "progress": False}
    shifts = {"severity": 3, "only": ["HUCalibration", "RigidMotion"], "draws": 4}
    product = InProcess()
    shared = {"images": images, "labels": labels, **options}
    product_evaluation(product, output_dir=tmp_path / "out", shifts=shifts, **shared).run()
    found = records(tmp_path / "out")
    assert set(found) == {"Clean", "HUCalibration", "RigidMotion"}
    for name in ("HUCalibration", "RigidMotion"):
        assert found[name]["queries"] == 1 + 4 + 4  # clean, draws, and the search around the worst
        assert found[name]["jaccard"] <= found["Clean"]["jaccard"]
        assert found[name]["gradients"] == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "acquisition shifts: nobody attacks, the worst is searched by answers alone" in page
    again = {"preset": "shifts", "only": ["HUOffset"], "shifts": {"severity": 1}, "figures": False, "progress": False}
    product_evaluation(product, images=images, labels=labels, output_dir=tmp_path / "all", **again).run()
    row = records(tmp_path / "all")["HUOffset"]
    image = nib.load(images / "case0.nii.gz").get_fdata()  # type: ignore[attr-defined]
    label = nib.load(labels / "case0.nii.gz").get_fdata() > 0  # type: ignore[attr-defined]
    reach = int((row["queries"] - 2) // 2)
    by_hand = []
    for offset in range(-reach, reach + 1):
        mask = image + offset < -620
        by_hand.append((mask & label).sum() / (mask | label).sum())
    assert reach >= 1
    assert row["jaccard"] == pytest.approx(min(by_hand))


def test_the_command_line_says_in_a_sentence_what_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, _ = cases(tmp_path)
    line = ["blackbox", "--command", "a {input} {output}", "--images", str(images), "--output_dir", str(tmp_path / "o")]
    for options, text in (
        (["--preset", "shifts", "--distil", "5"], "transfer and distil are of the preset 'blackbox'"),
        (["--read", "p", "--threshold", "0.5", "--distil", "3"], "distil must be a number of queries >= 5"),
        (
            ["--read", "p", "--threshold", "0.5", "--transfer", "endoscopic_artefact_detection"],
            "transfer must be from segmentations or classifications, and endoscopic_artefact_detection has a Detection",
        ),
        (["--preset", "shifts", "--severity", "9"], "severity must be a whole number from 1 to 5"),
        (["--preset", "shifts", "--shifts", "Doze"], "Doze"),
        (["--transfer", str(tmp_path)], "transfer must be a bundle"),
        (["--threshold", "0.5"], "say with --read where it stands"),
        (["--read", "p", "--rois", "a"], "rois are regions of an RTSTRUCT"),
    ):
        assert main([*line, *options]) == 1
        assert text in capsys.readouterr().err
    assert Finding("p", threshold=0.5).scored
