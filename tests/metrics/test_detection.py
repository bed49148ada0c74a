from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from detectors import cell_label, cells, colored
from torch import Tensor

from monai_smia.metrics import DetectionMetrics

Case = tuple[dict[str, Tensor], dict[str, Tensor]]


def drawn(seed: int, count: int = 12, classes: int = 3) -> list[Case]:
    """Images with objects, jittered boxes of most of them, and wrong ones; the last class is in no image."""
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(count):
        truth = _boxes(rng, rng.integers(0, 6))
        labels = rng.integers(0, classes, len(truth))
        kept = rng.random(len(truth)) < 0.8
        found = np.concatenate([(truth + rng.normal(0, 3, truth.shape))[kept], _boxes(rng, rng.integers(0, 5))])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        guessed = rng.integers(0, classes + 1, len(found) - kept.sum())
        decision = {
            "boxes": torch.tensor(found),
            "labels": torch.tensor(np.concatenate([labels[kept], guessed])),
            "scores": torch.tensor(rng.random(len(found))),
        }
        cases.append((decision, {"boxes": torch.tensor(truth), "labels": torch.tensor(labels)}))
    return cases


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 80, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(5, 40, (count, 2))], 1)


def pycocotools_map(cases: list[Case], classes: int) -> tuple[float, float]:
    coco, cocoeval = (
        pytest.importorskip(f"pycocotools.{name}", reason="needs pycocotools: the reference for average precision")
        for name in ("coco", "cocoeval")
    )
    truths: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for i, (decision, truth) in enumerate(cases):
        for (x1, y1, x2, y2), label in zip(truth["boxes"].tolist(), truth["labels"].tolist(), strict=True):
            box = {"image_id": i, "category_id": label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            truths.append({**box, "id": len(truths) + 1, "area": (x2 - x1) * (y2 - y1), "iscrowd": 0})
        for (x1, y1, x2, y2), label, score in zip(
            *(decision[k].tolist() for k in ("boxes", "labels", "scores")), strict=True
        ):
            box = {"image_id": i, "category_id": label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            found.append({**box, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        data = coco.COCO()
        data.dataset = {
            "images": [{"id": i} for i in range(len(cases))],
            "annotations": truths,
            "categories": [{"id": c + 1, "name": str(c)} for c in range(classes)],
        }
        data.createIndex()
        evaluation = cocoeval.COCOeval(data, data.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[1], evaluation.stats[0]


@pytest.mark.parametrize("seed", range(20))
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    cases = drawn(seed, count=12 if seed < 15 else 40)
    metrics = DetectionMetrics(["a", "b", "c", "absent"])
    summary = metrics.summary([metrics.compare(*case) for case in cases])
    map50, mean = pycocotools_map(cases, 4)
    assert 0.05 < summary["map50"] < 0.95
    assert summary["map50"] == pytest.approx(map50, abs=1e-6)
    assert summary["map"] == pytest.approx(mean, abs=1e-6)
    by_class = [summary[f"map50_{name}"] for name in "abc"]
    assert summary["map50"] == pytest.approx(sum(by_class) / 3)
    assert summary["map50_absent"] is None


def test_a_class_that_no_image_holds_does_not_count() -> None:
    _, truth = drawn(0)[0]
    truth = {"boxes": truth["boxes"][:1], "labels": truth["labels"][:1]}
    perfect = {**truth, "scores": torch.ones(1)}
    metrics = DetectionMetrics(["a", "b", "c"])
    summary = metrics.summary([metrics.compare(perfect, truth)])
    assert (summary["map50"], summary["map"], summary["iou"]) == (1, 1, pytest.approx(1))


def test_iou_is_the_best_match_of_every_object() -> None:
    truth = {
        "boxes": torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]),
        "labels": torch.tensor([0, 0, 1]),
    }
    decision = {
        "boxes": torch.tensor([[0.0, 0, 10, 5], [0, 0, 10, 8], [40, 0, 50, 10], [20, 0, 30, 10]]),
        "labels": torch.tensor([0, 0, 0, 0]),
        "scores": torch.tensor([0.9, 0.5, 0.8, 0.2]),
    }
    metrics = DetectionMetrics(["a", "b"])
    # 0.8 of the first; the second's box is too unsure, the third's of another class
    assert metrics.compare(decision, truth)["iou"] == pytest.approx(0.8 / 3)
    assert DetectionMetrics(["a", "b"], min_score=0.1).compare(decision, truth)["iou"] == pytest.approx(1.8 / 3)


def test_images_without_objects_count_for_precision_only() -> None:
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    truth = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([0])}
    found, nothing = {**truth, "scores": torch.tensor([0.5])}, {**none, "scores": torch.zeros(0)}
    metrics = DetectionMetrics(["a"])
    records = [metrics.compare(found, truth), metrics.compare({**found, "scores": torch.tensor([0.9])}, none)]
    assert records[1]["iou"] is None
    assert metrics.summary(records) == {"iou": pytest.approx(1), "map50": pytest.approx(0.5), "map": pytest.approx(0.5)}
    assert metrics.summary([metrics.compare(nothing, truth)]) == {"iou": 0, "map50": 0, "map": 0}
    assert metrics.summary([metrics.compare(nothing, none)]) == {"iou": None, "map50": None, "map": None}


def test_records_of_a_victim_are_json() -> None:
    victim = cells()
    prediction = victim.predict(colored((0.7, 0.2, 0.2), (0.2, 0.7, 0.2)))
    record = DetectionMetrics(["a", "b", "c"]).case(victim, prediction, [cell_label(0, 2)], torch.zeros(1))
    assert json.loads(json.dumps(record)) == record
    assert record["iou"] == pytest.approx(0.5)
    assert record["objects"] == [1, 0, 1]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="classes must name at least one"):
        DetectionMetrics([])
    with pytest.raises(ValueError, match="min_score"):
        DetectionMetrics(["a"], min_score=-1)
    with pytest.raises(ValueError, match="max_boxes"):
        DetectionMetrics(["a"], max_boxes=0)
