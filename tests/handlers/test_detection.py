from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from detectors import cell_label, cells, colored
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator

from monai_smia.engines.evaluator import prepare_batch
from monai_smia.handlers import DetectionMetric, SaveBoxes
from monai_smia.inferers import VictimInferer
from monai_smia.metrics import DetectionMetrics

CLASSES = ["a", "b", "c"]


def evaluator(**options: object) -> SupervisedEvaluator:
    """Two batches: a cell that is found, and one that is taken for another class."""
    victim = cells()
    image = colored((0.7, 0.2, 0.2), (0.2, 0.7, 0.2), dtype=torch.float32)
    batches = [
        {"image": image, "label": [cell_label(0, 1)], "case": ["right"]},
        {"image": image, "label": [cell_label(0, 2)], "case": ["wrong"]},
    ]
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=batches,
        network=victim.network,
        inferer=VictimInferer(victim),
        prepare_batch=prepare_batch,
        decollate=False,
        **options,  # type: ignore[arg-type]
    )


def test_metric_of_an_epoch_is_the_summary_of_its_cases() -> None:
    victim, metrics = cells(), DetectionMetrics(CLASSES)
    names = ("map50", "map", "iou")
    engine = evaluator(key_val_metric={name: DetectionMetric(victim, metrics, name) for name in names})
    for _ in range(2):  # a second epoch starts anew
        engine.run()
        values = engine.state.metrics
        # a is found twice, b once with one box too many, c never
        assert values["map50"] == pytest.approx((1 + 1 + 0) / 3)
        assert values["iou"] == pytest.approx(0.75)
    with pytest.raises(ValueError, match="name must be one of"):
        DetectionMetric(victim, metrics, "ap")


def test_boxes_are_written_once_per_case(tmp_path: Path) -> None:
    saver = SaveBoxes(cells(), tmp_path / "boxes", CLASSES)
    engine = evaluator(val_handlers=[saver])
    saver.attach(engine)  # again, without effect
    assert sum(saver is handler for handler, *_ in _handlers(engine)) == 1
    engine.run()
    assert sorted(path.name for path in (tmp_path / "boxes").iterdir()) == ["right.json", "wrong.json"]
    boxes = json.loads((tmp_path / "boxes" / "right.json").read_text())
    assert [(b["box"], b["class"]) for b in boxes] == [([0, 0, 8, 8], "a"), ([8, 0, 16, 8], "b")]
    assert all(b["score"] > 0.9 for b in boxes)


def _handlers(engine: Engine) -> list:
    return [handler for handlers in engine._event_handlers.values() for handler in handlers]
