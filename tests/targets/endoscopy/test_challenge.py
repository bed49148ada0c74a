from __future__ import annotations

import pytest
import torch

from monai_smia.metrics import DetectionMetrics
from monai_smia.targets.endoscopy import ArtefactMetrics

TRUTH = {"boxes": torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]]), "labels": torch.tensor([0, 1])}
FOUND = {
    "boxes": torch.tensor([[0.0, 0, 10, 8], [20, 20, 40, 40], [0, 0, 5, 5]]),
    "labels": torch.tensor([0, 1, 1]),
    "scores": torch.tensor([0.9, 0.8, 0.7]),
}


def test_the_score_is_six_tenths_precision_and_four_tenths_overlap() -> None:
    metrics = ArtefactMetrics(["blur", "bubbles"])
    record = metrics.compare(FOUND, TRUTH)
    plain = DetectionMetrics(["blur", "bubbles"]).summary([record])
    found = metrics.summary([record])
    assert found == {**plain, "ead": pytest.approx(0.6 * (0.7 + 1) / 2 + 0.4 * 0.9)}


def test_without_an_object_there_is_no_score() -> None:
    metrics = ArtefactMetrics(["blur", "bubbles"])
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    assert metrics.summary([metrics.compare(FOUND, none)])["ead"] is None
