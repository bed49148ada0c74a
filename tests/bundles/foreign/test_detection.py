"""The overlay on detection bundles: boxes in world coordinates, their own steps, the choice of window."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles.foreign.detection import LPS, RAS, own_boxes, with_boxes
from bundles.foreign.test_foreign import overlay, said_by

from monai_smia.adapters.monai_bundle import check_bundle
from monai_smia.adapters.monai_bundle.boxes import BoxKeys, decided_boxes
from monai_smia.adapters.monai_bundle.engine import Iteration
from monai_smia.metrics import DetectionMetrics

OWN_WINDOW = """
        use_inferer = inputs[0, 0].numel() >= 40**3
        return self.detector(inputs, use_inferer=use_inferer)
"""


@pytest.fixture(autouse=True)
def scripts_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(tmp_path / "bundle"))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "scripts"]:
        del sys.modules[name]


def own_figures(bundle: Path) -> dict[str, Any]:
    """IoU and mAP of the boxes that the bundle's own inferer gives."""
    found, batch = own_boxes(bundle)
    metrics = DetectionMetrics(["0", "1"])
    truth = {"boxes": batch["box"][0], "labels": torch.as_tensor(batch["label"]).reshape(-1)}
    return metrics.summary([metrics.compare(found, truth)])


@pytest.mark.parametrize("affine", [RAS, LPS], ids=["RAS", "LPS"])
def test_boxes_go_the_bundles_own_way(affine: np.ndarray, tmp_path: Path) -> None:
    bundle = with_boxes(tmp_path / "bundle", affine)
    rows, _ = overlay(bundle, {})
    own = own_figures(bundle)
    clean = rows["Clean", "computed"]
    assert own["map50"] > 0
    assert {name: clean[name] for name in ("iou", "map50", "map")} == pytest.approx(
        {name: own[name] for name in ("iou", "map50", "map")}, abs=1e-6
    )
    assert clean["agreement"] == 1.0


@pytest.mark.parametrize("own_choice", [True, False])
def test_the_detectors_window_is_used_where_its_inferer_uses_it(own_choice: bool, tmp_path: Path) -> None:
    bundle = with_boxes(tmp_path / "bundle", RAS, window=[16, 16, 16])
    inferer = bundle / "scripts" / "inferer.py"
    text = inferer.read_text()
    always = "        return self.detector(inputs, use_inferer=True)\n"
    inferer.write_text(text[: text.index("        return self.detector")] + (OWN_WINDOW if own_choice else always))
    rows, _ = overlay(bundle, {})
    own = own_figures(bundle)
    clean = rows["Clean", "computed"]
    assert clean["map"] == pytest.approx(own["map"], abs=1e-6)
    assert clean["agreement"] == 1.0  # the twin goes the same way


def test_boxes_that_no_step_takes_to_the_image_are_refused(tmp_path: Path) -> None:
    bundle = with_boxes(tmp_path / "bundle", RAS, box_steps=False)
    with pytest.raises((ValueError, RuntimeError)) as caught:
        overlay(bundle, {})
    assert any(re.search("go through no transform of the bundle", text) for text in said_by(caught.value))
    rows, _ = overlay(bundle, {"attack#unsupervised": True})
    assert rows["Clean", "computed"]["iou"] == pytest.approx(1.0)


def test_boxes_that_postprocessing_takes_to_the_world(tmp_path: Path) -> None:
    """As corners, whatever form they are left in; with labels that it leaves in the image they are not compared."""
    keys = BoxKeys("boxes", "labels", "labels_scores", "box", "label", mode="cccwhd")
    left = {"boxes": torch.tensor([[5.0, 6, 7, 2, 4, 6]]), "labels": torch.tensor([1])}
    left["labels_scores"] = torch.tensor([0.9])
    found = decided_boxes(Iteration(left, {}, None, None, False), keys)
    assert found["boxes"].tolist() == [[4.0, 4.0, 4.0, 6.0, 8.0, 10.0]]
    bundle = with_boxes(tmp_path / "bundle", RAS)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    prefix = "monai.apps.detection.transforms.dictionary"
    world = {"_target_": f"{prefix}.AffineBoxToWorldCoordinated", "box_keys": "boxes", "box_ref_image_keys": "image"}
    config["postprocessing"]["transforms"] = [world]
    path.write_text(json.dumps(config))
    (stops,) = check_bundle([str(path)])
    assert "postprocessing takes the boxes that are found to world coordinates and leaves those of the items" in stops
