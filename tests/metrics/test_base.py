"""Values of a case and their means."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from monai_smia.metrics import CaseMetrics, means
from monai_smia.metrics.base import numbers


def test_means_are_of_the_cases_that_define_a_value() -> None:
    records = [{"a": 0.5, "b": 1.0, "c": None}, {"a": None, "b": 2.0, "c": None}]
    assert means(records) == {"a": 0.5, "b": 1.5, "c": None}


def test_facts_are_not_averaged() -> None:
    records = [{"grade": 3, "name": "x", "probabilities": [0.1, 0.9], "score": 0.25}]
    assert means(records) == {"score": 0.25}
    assert means(records, ["grade"]) == {"grade": 3.0}


def test_sums_are_exact() -> None:
    assert means([{"a": value} for value in (1e16, 1.0, -1e16, 1.0)]) == {"a": 0.5}


def test_what_json_does_not_have_is_undefined() -> None:
    values = {"a": torch.tensor([1.5, 9.0]), "b": torch.tensor([torch.nan]), "c": torch.tensor([-torch.inf])}
    assert numbers(values) == {"a": 1.5, "b": None, "c": None}


def test_a_task_summarizes_by_the_mean_unless_it_says_otherwise() -> None:
    class Distance(CaseMetrics):
        def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
            return {"distance": float((prediction - label).abs())}

    metrics = Distance()
    records = [metrics.case(None, torch.tensor(p), torch.tensor(1.0), torch.empty(0)) for p in (2.0, 4.0)]
    assert metrics.summary(records) == {"distance": 2.0}
