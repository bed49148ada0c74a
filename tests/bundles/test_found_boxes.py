"""Boxes whose postprocessing a bundle leaves to the handler that saves them, as the zoo's detector of nodules does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles.foreign.detection import RAS, evaluator_of, with_boxes
from bundles.foreign.test_foreign import overlay
from monai.transforms import Compose

from monai_smia.adapters.monai_bundle import check_bundle
from monai_smia.adapters.monai_bundle.builder import BundleBuilder
from monai_smia.adapters.monai_bundle.found_boxes import OfWhatIsFound, is_of_what_is_found

PREFIX = "monai.apps.detection.transforms.dictionary"
EVALUATOR = """
from monai.engines import IterationEvents, SupervisedEvaluator


class DetectionEvaluator(SupervisedEvaluator):
    \"\"\"Of a list of items, as the zoo's.\"\"\"

    def _register_decollate(self):
        @self.on(IterationEvents.MODEL_COMPLETED)
        def _decollate_data(engine):
            engine.state.output = [{"pred": found} for found in engine.state.output["pred"]]

    def _iteration(self, engine, batchdata):
        images = [item["image"].to(engine.state.device) for item in batchdata]
        engine.state.output = {"pred": self.inferer(images, self.network)}
        if FIRES:
            engine.fire_event(IterationEvents.FORWARD_COMPLETED)
            engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output
"""


@pytest.fixture(autouse=True)
def scripts_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(tmp_path / "bundle"))
    yield
    forget_scripts()


def forget_scripts() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "scripts"]:
        del sys.modules[name]


def of_a_saver(folder: Path, *, fires: bool = True) -> Path:
    """A bundle whose evaluator has no postprocessing; items have boxes of the same key that no step has touched."""
    bundle = with_boxes(folder, RAS)
    path = bundle / "configs" / "inference.json"
    evaluator = bundle / "scripts" / "evaluator.py"
    forget_scripts()  # which building it has read
    evaluator.write_text(EVALUATOR.replace("FIRES", str(fires)))
    config = json.loads(path.read_text())
    del config["evaluator"]["postprocessing"]
    config["imports"].append("$import monai")
    config["dataloader"]["collate_fn"] = "$monai.data.utils.no_collation"
    config["datalist"] = [{"image": item["image"], "boxes": item["box"]} for item in config["datalist"]]
    config["preprocessing"]["transforms"] = [
        step for step in config["preprocessing"]["transforms"] if "image" in step.get("keys", "")
    ]
    keys = {"box_keys": "boxes", "box_ref_image_keys": "image"}
    config["postprocessing"]["transforms"] = [
        {"_target_": f"{PREFIX}.ClipBoxToImaged", **keys, "label_keys": ["labels", "labels_scores"]}
        | {"remove_empty": True},
        {"_target_": f"{PREFIX}.AffineBoxToWorldCoordinated", **keys},
        {"_target_": f"{PREFIX}.ConvertBoxModed", "box_keys": "boxes", "src_mode": "xyzxyz", "dst_mode": "cccwhd"},
        {"_target_": "DeleteItemsd", "keys": ["image"]},
    ]
    path.write_text(json.dumps(config))
    return bundle


def inferred(bundle: Path) -> dict[str, torch.Tensor]:
    """What the bundle's own inferer finds."""
    evaluator = evaluator_of(bundle)
    (batch,) = evaluator.data_loader
    with torch.no_grad():
        found: dict[str, torch.Tensor] = evaluator.inferer([item["image"] for item in batch], evaluator.network)[0]
    return found


def test_boxes_are_taken_where_the_bundles_saver_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the world, as corners again: the figures of boxes that the bundle's own inferer finds."""
    bundle = of_a_saver(tmp_path / "bundle")
    found = inferred(bundle)
    boxes = found["boxes"].double().numpy()
    corners = np.stack([boxes[:, :3], boxes[:, 3:]], 1) @ RAS[:3, :3].T + RAS[:3, 3]
    seen = {}
    wanted = BundleBuilder.__init__

    def noted(self: BundleBuilder, *args: object, **options: object) -> None:
        wanted(self, *args, **options)  # type: ignore[arg-type]
        seen["boxes"] = self.pipeline.decided(self.pipeline.clean(self.case)[1]).prediction[0]["boxes"]

    monkeypatch.setattr(BundleBuilder, "__init__", noted)
    assert check_bundle([str(bundle / "configs" / "inference.json")]) == []
    expected = torch.as_tensor(np.concatenate([corners.min(1), corners.max(1)], 1))
    assert torch.allclose(seen["boxes"].double(), expected, atol=1e-3)
    rows, _ = overlay(bundle, {})
    assert rows["Clean", "computed"]["iou"] == pytest.approx(1.0)
    assert rows["Clean", "computed"]["agreement"] == 1.0


def test_postprocessing_that_the_evaluator_never_applies_is_refused(tmp_path: Path) -> None:
    """Its form of boxes would be read into boxes that it has not touched."""
    bundle = of_a_saver(tmp_path / "bundle", fires=False)
    (stops,) = check_bundle([str(bundle / "configs" / "inference.json")])
    assert stops.startswith(
        "postprocessing must be applied by the evaluator, whose iteration does not (it fires no MODEL_COMPLETED): "
        "ClipBoxToImaged, AffineBoxToWorldCoordinated, ConvertBoxModed, DeleteItemsd."
    )


def test_an_items_own_boxes_stay_as_they_are() -> None:
    def doubled(data: dict[str, list[int]]) -> dict[str, list[int]]:
        return {"box": [2 * value for value in data["box"]], "score": data["score"]}  # the image is gone

    data = {"image": [3], "box": [5], "pred": {"box": [10, 20], "score": [1, 0]}}
    left = OfWhatIsFound(doubled, "box")(data)
    assert left == {"image": [3], "box": [5], "pred": {"box": [20, 40], "score": [1, 0]}}
    with pytest.raises(ValueError, match=r"as many classes and scores as boxes, got 1 of 'box', 2 of 'score'\."):
        OfWhatIsFound(lambda data: {**data, "box": data["box"][:1]}, "box")(data)


def test_which_steps_are_of_what_is_found() -> None:
    class Step:
        """Of some keys."""

        def __init__(self, *keys: str) -> None:
            self.keys = keys

        def __call__(self, data: object) -> object:
            return data

    assert is_of_what_is_found(Compose([Step("box")]), "box")
    assert not is_of_what_is_found(Compose([Step("box"), Step("pred")]), "box")  # beside the prediction, as it stands
    assert not is_of_what_is_found(Compose([Step("label")]), "box")
    assert not is_of_what_is_found([], "box")
