from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monai_smia.analysis.statistics import Mean, Sample, intervals, mean_intervals, paired_difference, worst_case
from monai_smia.metrics import means


def rows(values: Any, patients: Any = None, name: str = "jaccard") -> list[Sample]:
    patients = range(len(values)) if patients is None else patients
    return [
        Sample(str(i), str(p), {name: None if v is None else float(v)})
        for i, (v, p) in enumerate(zip(values, patients, strict=True))
    ]


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    for trial in range(150):
        interval = mean_intervals(rows(rng.normal(0.5, 0.1, 40)), ["jaccard"], seed=trial)["jaccard"]
        assert interval is not None
        covered += interval[0] <= 0.5 <= interval[1]
    assert 0.90 <= covered / 150 <= 0.98


def test_patients_are_drawn_and_not_cases() -> None:
    """Ten copies of four patients' scans hold four patients' worth of knowledge."""
    values = np.array([0.2, 0.4, 0.6, 0.8])
    few = mean_intervals(rows(values), ["jaccard"])["jaccard"]
    many = mean_intervals(rows(np.repeat(values, 10), np.repeat(range(4), 10)), ["jaccard"])["jaccard"]
    assert few == pytest.approx(many)
    alone = mean_intervals(rows(np.repeat(values, 10)), ["jaccard"])["jaccard"]
    assert few is not None
    assert alone is not None
    assert alone[1] - alone[0] < 0.5 * (few[1] - few[0])


def test_one_patient_has_no_interval() -> None:
    assert intervals(rows([0.1, 0.2], ["p", "p"]), means) == {"jaccard": None}


def test_undefined_values_are_left_out() -> None:
    with_none = mean_intervals(rows([0.2, None, 0.2]), ["jaccard"])["jaccard"]
    assert with_none == pytest.approx([0.2, 0.2])


def test_a_summary_that_is_no_mean_is_drawn_too() -> None:
    def spread(records: Any) -> dict[str, float]:
        values = [r["jaccard"] for r in records]
        return {"jaccard": sum(values) / len(values), "range": max(values) - min(values)}

    found = intervals(rows(np.linspace(0, 1, 30)), spread)
    assert found["range"] is not None
    assert 0.7 < found["range"][0] < found["range"][1] <= 1
    assert found["jaccard"] == mean_intervals(rows(np.linspace(0, 1, 30)), ["jaccard"])["jaccard"]


def test_pairing_takes_out_what_the_cases_differ_by() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0, 1, 30)
    found = paired_difference(rows(base - 0.1 + rng.normal(0, 0.01, 30)), rows(base), "jaccard")
    assert found.value == pytest.approx(-0.1, abs=0.01)
    assert found.interval is not None
    assert -0.12 < found.interval[0] < found.interval[1] < -0.08
    assert paired_difference(rows([0.1]), [], "jaccard") == Mean(None, None, 0)


def test_the_worst_case_is_taken_case_by_case() -> None:
    groups = {"BIM": rows([0.1, 0.9, 0.5]), "PGD": rows([0.3, 0.2, None])}
    mean, won = worst_case(groups, "jaccard")
    assert mean.value == pytest.approx((0.1 + 0.2 + 0.5) / 3)
    assert won == {"BIM": 2, "PGD": 1}
    assert worst_case(groups, "jaccard", lowest=False)[0].value == pytest.approx((0.3 + 0.9 + 0.5) / 3)
