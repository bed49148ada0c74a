"""Metrics at their edges, each by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from monai_smia.metrics import ClassificationMetrics, DetectionMetrics, SegmentationMetrics
from monai_smia.metrics.boxes import check_numbers
from monai_smia.metrics.classification import calibration_error, wilson_interval
from monai_smia.metrics.overlap import Overlap
from monai_smia.metrics.surfaces import surface_scores
from monai_smia.metrics.volumes import coefficients_of_variation
from monai_smia.victims import SegmentationVictim


def maps(values: list[int], classes: int) -> torch.Tensor:
    """Logits ``(1, K, 1, n)`` that decide these classes."""
    return torch.nn.functional.one_hot(torch.tensor([[values]]), classes).movedim(-1, 1).float()


def case(decided: list[int], truth: list[int], classes: int, **options: Any) -> dict[str, Any]:
    label = torch.tensor([[[truth]]])
    metrics = SegmentationMetrics(classes, **options)
    return metrics.case(
        SegmentationVictim(nn.Identity()), maps(decided, classes), label, torch.zeros(1, 1, 1, len(truth))
    )


def test_classes_beyond_a_byte_are_not_mixed() -> None:
    """299 and 43 are one number in eight bits."""
    assert case([299, 1, 2], [299, 1, 2], 300)["accuracy"] == 1.0
    assert case([299, 1, 2], [43, 1, 2], 300)["accuracy"] == pytest.approx(2 / 3)
    assert case([255, 0], [255, 1], 256)["accuracy"] == 0.5


@pytest.mark.parametrize("volume", [0.0, 3.5])
def test_a_volume_that_a_decision_hangs_on(volume: float) -> None:
    SegmentationMetrics(2, class_names=["nothing", "lung"], volume_thresholds={"lung": volume})


@pytest.mark.parametrize("thresholds", [{"lung": -0.1}, {"lung": float("inf")}, {"heart": 1.0}])
def test_a_volume_that_is_none(thresholds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="volume_thresholds must be volumes in ml of"):
        SegmentationMetrics(2, class_names=["nothing", "lung"], volume_thresholds=thresholds)


@pytest.mark.parametrize(("successes", "count"), [(0, 7), (1, 7), (3, 7), (7, 7)])
def test_wilson_by_scipy(successes: int, count: int) -> None:
    theirs = stats.binomtest(successes, count).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(successes, count)
    assert low == (0.0 if successes == 0 else pytest.approx(theirs.low))
    assert high == (1.0 if successes == count else pytest.approx(theirs.high))


@pytest.mark.parametrize("beyond", [5e-7, 1.5e-6])
def test_a_confidence_may_leave_its_range_by_rounding_alone(beyond: float) -> None:
    for confidence in (1 + beyond, -beyond):
        if beyond < 1e-6:
            assert calibration_error([confidence, 0.5], [True, False]) is not None
        else:
            with pytest.raises(ValueError, match=r"^confidences must lie in \[0, 1\]"):
                calibration_error([confidence, 0.5], [True, False])


def test_a_spread_needs_two_cases_and_a_mean() -> None:
    name = "volume_change_ml_lung"
    of = lambda *values: coefficients_of_variation([{name: v} for v in values])[f"cv_{name}"]  # noqa: E731
    assert of(-10.0, -30.0) == pytest.approx(0.70710678)
    assert of(10.0, None, 30.0) == pytest.approx(0.70710678)
    assert of(5.0) is None
    assert of(-5.0, 5.0) is None
    assert of(None) is None


@pytest.mark.parametrize(
    ("boxes", "labels", "refused"),
    [
        (torch.zeros(2, 4) + torch.tensor([0, 0, 1, 1.0]), torch.zeros(2), False),
        (torch.zeros(2, 4) + torch.tensor([0, 0, 1, 1.0]), torch.zeros(1), True),
        (torch.zeros(2, 3), torch.zeros(2), True),
        (torch.zeros(0, 4), torch.zeros(0), False),
        (torch.tensor([[0, 0, 0, 1, 1, 1.0]]), torch.zeros(1), False),
        (torch.tensor([[0, 0, 1, torch.nan]]), torch.zeros(1), True),
        (torch.tensor([[0, 0, 1, torch.inf]]), torch.zeros(1), True),
    ],
)
def test_boxes_that_are_none(boxes: torch.Tensor, labels: torch.Tensor, refused: bool) -> None:
    if refused:
        with pytest.raises(ValueError, match=r"^label must hold"):
            check_numbers("label", {"boxes": boxes, "labels": labels})
    else:
        check_numbers("label", {"boxes": boxes, "labels": labels})


@pytest.mark.parametrize(("least", "refused"), [(0.0, False), (1.0, False), (1.5, True), (2.0, True), (-0.1, True)])
def test_a_score_is_a_share(least: float, refused: bool) -> None:
    if refused:
        with pytest.raises(ValueError, match="min_score"):
            DetectionMetrics(["a"], min_score=least)
    else:
        DetectionMetrics(["a"], min_score=least)


def test_surfaces_of_two_squares_apart() -> None:
    """Two pixels of 3 mm, one beside the other with a gap of one: 6 mm."""
    decided, truth = np.zeros((2, 1, 7), bool)
    decided[0, 1], truth[0, 3] = True, True
    distance, dice = surface_scores(decided, truth, (1.0, 3.0), 5.9)
    assert (distance, dice) == (6.0, 0.0)
    assert surface_scores(decided, truth, (1.0, 3.0), 6.0)[1] == 1.0


@pytest.mark.parametrize(
    ("grade", "decided", "shares"),
    [
        (1, 1, {"accuracy": True, "accuracy_1": True}),
        (1, 2, {"accuracy": False, "accuracy_1": False}),
        (0, 2, {"accuracy": False, "accuracy_0": False, "fpr": True}),
        (0, 0, {"accuracy": True, "accuracy_0": True, "fpr": False}),
    ],
)
def test_of_what_a_decision_is_a_share(grade: int, decided: int, shares: dict[str, bool]) -> None:
    assert ClassificationMetrics(num_classes=3).shares({"grade": grade, "decided": decided}) == shares


def test_images_of_a_batch_are_counted_by_themselves() -> None:
    """Three classes: of the first image half of class 1 is found, of the second nothing of 1 and all of 2."""
    truth = torch.tensor([[[1, 1, 0, 0]], [[1, 2, 2, 0]]])
    decided = torch.tensor([[[1, 0, 0, 0]], [[0, 2, 2, 2]]])
    overlap = Overlap.of_classes(decided, truth, 3)
    assert overlap.both.tolist() == [[1, 0], [0, 2]]
    assert overlap.truth.tolist() == [[2, 0], [1, 2]]
    assert overlap.decided.tolist() == [[1, 0], [0, 3]]
