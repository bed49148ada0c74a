"""Handlers of detectors: average precision in an Ignite engine, and boxes as files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from ignite.metrics import Metric

from monai_smia.files import check_file_name, write_text
from monai_smia.metrics import DetectionMetrics
from monai_smia.victims import DetectionVictim


class DetectionMetric(Metric):
    """One of `DetectionMetrics`'s summary over an epoch of a MONAI evaluator that does not decollate.

    Args:
        victim: decides the boxes of the engine's predictions.
        metrics: the metrics.
        name: which of ``map50``, ``map``, ``iou``.

    Raises:
        ValueError: if `name` is none of them.

    Example:
        >>> import torch
        >>> metric = DetectionMetric(None, DetectionMetrics(["polyp"]), name="iou")
        >>> truth = {"boxes": torch.tensor([[0.0, 0, 10, 10]]), "labels": torch.tensor([0])}
        >>> metric.add({**truth, "scores": torch.tensor([0.9])}, truth)
        >>> metric.compute()
        1.0
    """

    required_output_keys = ("pred", "label")

    def __init__(self, victim: DetectionVictim | None, metrics: DetectionMetrics, name: str = "map50") -> None:
        if name not in ("map50", "map", "iou"):
            raise ValueError(f"name must be one of map50, map, iou, got {name!r}.")
        self.victim, self.metrics, self.name = victim, metrics, name
        super().__init__()

    def reset(self) -> None:
        """Forget all records."""
        self.records: list[dict[str, Any]] = []

    def update(self, output: tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]) -> None:
        """Add a batch: the engine's raw ``pred`` and its ``label``, a list of boxes."""
        assert self.victim is not None
        prediction, label = output
        for decision, truth in zip(self.victim.decide(prediction), self.victim.as_label(label), strict=True):
            self.add(decision, {key: value.to(decision["boxes"].device) for key, value in truth.items()})

    def add(self, decision: Mapping[str, Any], truth: Mapping[str, Any]) -> None:
        """Add an image."""
        self.records.append(self.metrics.compare(decision, truth))

    def compute(self) -> float:
        """The summary; NaN where it is undefined."""
        value = self.metrics.summary(self.records)[self.name]
        return float("nan") if value is None else value


class SaveBoxes:
    """Writes the boxes of every image as ``<case>.json``: a list of ``box`` (in pixels), ``class`` and ``score``.

    Args:
        victim: decides the boxes of the engine's predictions.
        output_dir: where to write; made if absent.
        classes: names of the classes.
        min_score: boxes of a lower score are left out.
    """

    def __init__(
        self,
        victim: DetectionVictim,
        output_dir: str | os.PathLike[str],
        classes: Sequence[str],
        min_score: float = 0.3,
    ) -> None:
        self.victim = victim
        self.output_dir = Path(output_dir)
        self.classes = list(classes)
        self.min_score = min_score

    def attach(self, engine: Engine) -> None:
        """Run after every iteration of a MONAI engine that does not decollate."""
        if not engine.has_event_handler(self, Events.ITERATION_COMPLETED):
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the boxes of the batch; its ``case`` names the files."""
        output: Any = engine.state.output
        batch: Any = engine.state.batch
        for decision, case in zip(self.victim.decide(output["pred"]), batch["case"], strict=True):
            check_file_name("case", case, 200)
            found = zip(*(decision[key].tolist() for key in ("boxes", "labels", "scores")), strict=True)
            boxes = [{"box": b, "class": self.classes[k], "score": s} for b, k, s in found if s >= self.min_score]
            write_text(self.output_dir / f"{case}.json", json.dumps(boxes, indent=1))
