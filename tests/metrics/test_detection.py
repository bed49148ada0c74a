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


@pytest.mark.parametrize("seed", range(200))
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    cases = drawn(seed, count=12 if seed % 10 else 40)
    metrics = DetectionMetrics(["a", "b", "c", "absent"])
    summary = metrics.summary([metrics.compare(*case) for case in cases])
    map50, mean = pycocotools_map(cases, 4)
    assert 0.02 < summary["map50"] < 0.98
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
    half = pytest.approx(0.5)
    assert metrics.summary(records) == {"iou": 1, "missed": 0, "invented": 0.5, "map50": half, "map": half}
    erased = metrics.summary([metrics.compare(nothing, truth)])
    assert erased == {"iou": 0, "missed": 1, "invented": 0, "map50": 0, "map": 0}
    undefined = dict.fromkeys(("iou", "missed", "map50", "map"))
    assert metrics.summary([metrics.compare(nothing, none)]) == {**undefined, "invented": 0}


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


EDGES = {
    "one box over two objects": ([[0, 0, 10, 10]], [0.9], [[0, 0, 10, 6], [0, 4, 10, 10]]),
    "two boxes on one object": ([[0, 0, 10, 10], [0, 0, 10, 9]], [0.9, 0.8], [[0, 0, 10, 10]]),
    "equal scores": (
        [[0, 0, 10, 10], [30, 30, 40, 40], [50, 0, 60, 10]],
        [0.5, 0.5, 0.5],
        [[0, 0, 10, 10], [50, 0, 60, 10]],
    ),
    "no boxes": ([], [], [[0, 0, 10, 10]]),
    "overlap of exactly half": ([[0, 0, 10, 5]], [0.9], [[0, 0, 10, 10]]),
    "more than a hundred": ([[0, 0, 10, 10]] + [[20, 20, 30, 30]] * 120, [0.01] + [0.5] * 120, [[0, 0, 10, 10]]),
}


@pytest.mark.parametrize("name", EDGES)
def test_edge_cases_are_those_of_pycocotools(name: str) -> None:
    boxes, scores, objects = EDGES[name]
    decision = {
        "boxes": torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        "labels": torch.zeros(len(boxes), dtype=torch.long),
        "scores": torch.tensor(scores, dtype=torch.float64),
    }
    truth = {"boxes": torch.tensor(objects, dtype=torch.float64), "labels": torch.zeros(len(objects), dtype=torch.long)}
    far = {"boxes": torch.tensor([[70.0, 70, 80, 80]]).double(), "labels": torch.zeros(1, dtype=torch.long)}
    cases = [(decision, truth), ({**far, "scores": torch.tensor([0.6]).double()}, far)]
    metrics = DetectionMetrics(["a"])
    summary = metrics.summary([metrics.compare(*case) for case in cases])
    assert (summary["map50"], summary["map"]) == pytest.approx(pycocotools_map(cases, 1), abs=1e-6)


class TestOneToOne:
    def test_one_box_over_two_objects_finds_one(self) -> None:
        truth = {"boxes": torch.tensor([[0.0, 0, 10, 6], [0, 4, 10, 10]]), "labels": torch.tensor([0, 0])}
        box = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([0]), "scores": torch.ones(1)}
        record = DetectionMetrics(["a"]).compare(box, truth)
        assert (record["missed"], record["invented"], record["iou"]) == (0.5, 0, pytest.approx(0.3))

    def test_the_overlaps_are_shared_out_best(self) -> None:
        """The first box overlaps both, the second the first object alone: each gets its own."""
        truth = {"boxes": torch.tensor([[0.0, 0, 10, 10], [0, 5, 10, 15]]), "labels": torch.tensor([0, 0])}
        boxes = {
            "boxes": torch.tensor([[0.0, 2, 10, 12], [0, 0, 10, 8]]),
            "labels": torch.tensor([0, 0]),
            "scores": torch.tensor([0.9, 0.8]),
        }
        assert DetectionMetrics(["a"]).compare(boxes, truth)["iou"] == pytest.approx((0.8 + 7 / 13) / 2)

    def test_what_is_invented_counts(self) -> None:
        """Boxes that find nothing, doubles and those of another class among them."""
        truth = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([1])}
        boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [70, 70, 80, 80]])
        scores = torch.tensor([0.9, 0.8, 0.7, 0.4, 0.2])
        decision = {"boxes": boxes, "labels": torch.tensor([1, 0, 1, 0, 0]), "scores": scores}
        record = DetectionMetrics(["a", "b"]).compare(decision, truth)
        assert (record["missed"], record["invented"]) == (0, 3)  # the last is too unsure

    @pytest.mark.parametrize("seed", range(100))
    def test_missed_and_damage_are_one(self, seed: int) -> None:
        victim = cells()
        color = torch.rand(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        prediction = victim.predict(colored(*map(tuple, (0.35 + 0.3 * color).tolist())))
        label = [cell_label(*((int(c.argmax()) if seed % 3 else 0) for c in color))]
        record = DetectionMetrics(["a", "b", "c"]).case(victim, prediction, label, torch.zeros(1))
        assert record["missed"] == pytest.approx(float(victim.damage(prediction, label)))


@pytest.mark.parametrize("where", ["decision", "label"])
@pytest.mark.parametrize("number", [2, -1])
def test_a_class_beyond_those_named_is_an_error(where: str, number: int) -> None:
    """It was a bare IndexError."""
    truth = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([0])}
    other = {**truth, "labels": torch.tensor([number])}
    decision, label = (other, truth) if where == "decision" else (truth, other)
    message = rf"{where} must hold classes from 0 to 1, \['a', 'b'\], got \[{number}\]"
    with pytest.raises(ValueError, match=message):
        DetectionMetrics(["a", "b"]).compare({**decision, "scores": torch.ones(1)}, label)


FOUND = {"boxes": torch.tensor([[0.0, 0, 10, 8]]), "labels": torch.tensor([0]), "scores": torch.tensor([0.9])}
OBJECT = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([0])}


@pytest.mark.parametrize(
    ("found", "there", "message"),
    [
        ({"scores": torch.tensor([torch.nan])}, {}, r"decision must hold finite scores, got \[nan\]"),
        ({"scores": torch.tensor([torch.inf])}, {}, "decision must hold finite scores"),
        ({"boxes": torch.tensor([[0.0, torch.nan, 10, 8]])}, {}, "decision must hold finite boxes"),
        ({"boxes": torch.tensor([[0.0, 9, 10, 8]])}, {}, "decision must hold boxes whose lower corners are below"),
        ({"scores": torch.tensor([0.9, 0.8])}, {}, "decision must hold as many boxes as labels and scores"),
        ({"boxes": torch.zeros(4)}, {}, "decision must hold as many boxes"),
        ({"boxes": torch.zeros(1, 5)}, {}, "decision must hold as many boxes"),
        ({}, {"boxes": torch.tensor([[0.0, 0, torch.inf, 8]])}, "label must hold finite boxes"),
        ({}, {"boxes": torch.tensor([[5.0, 5, 5, 8]])}, r"label must hold boxes .* got \[5.0, 5.0, 5.0, 8.0\]"),
        ({}, {"boxes": torch.tensor([[5.0, 9, 8, 8]])}, "label must hold boxes whose lower corners are below"),
        ({}, {"labels": torch.tensor([0, 0])}, "label must hold as many boxes as labels"),
    ],
)
def test_boxes_and_scores_that_are_none_are_refused(found: dict, there: dict, message: str) -> None:
    metrics = DetectionMetrics(["polyp"])
    assert metrics.compare(FOUND, OBJECT)["iou"] == pytest.approx(0.8)
    with pytest.raises(ValueError, match=message):
        metrics.compare(FOUND | found, OBJECT | there)


def test_a_found_box_without_an_area_finds_nothing() -> None:
    """A detector may clip a box to the image's edge: it is no object, and it is invented."""
    flat = {"boxes": torch.tensor([[10.0, 0, 10, 8]])}
    record = DetectionMetrics(["polyp"]).compare(FOUND | flat, OBJECT)
    assert (record["iou"], record["missed"], record["invented"]) == (0.0, 1.0, 1.0)
