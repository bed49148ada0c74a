from __future__ import annotations

import json
from pathlib import Path

import pytest
from record_helpers import record

from monai_smia.analysis import groups_of, summarize, summary_of
from monai_smia.metrics import ClassificationMetrics, SegmentationMetrics
from monai_smia.records import Failure, Outcome


def test_means_leave_out_what_is_undefined_and_who_failed() -> None:
    outcomes: list[Outcome] = [record(case=c, jaccard=v) for c, v in (("a", 0.2), ("b", None), ("c", 0.4), ("d", 0.9))]
    outcomes.append(Failure("d", "error", "x"))
    (row,) = summarize(outcomes)
    assert abs((row.value("jaccard") or 0) - 0.3) < 1e-12
    assert row.cases == 3


def test_undefined_for_all_is_null(tmp_path: Path) -> None:
    summary_of([record(jaccard=None)], SegmentationMetrics(2), cases=1).write(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["rows"][0]["jaccard"] is None


def test_rows_keep_their_order() -> None:
    rows = summarize([record("Clean", jaccard=1.0), record("BIM", jaccard=0.1), record("Clean", "b", jaccard=1.0)])
    assert [row.row.attack for row in rows] == ["Clean", "BIM"]


def test_stages_and_settings_are_rows_of_their_own() -> None:
    records = [record(stage=stage, setting=s, jaccard=1.0) for stage in ("computed", "stored") for s in ("", "paper")]
    assert [(g.row.setting, str(g.stage), len(g.records)) for g in groups_of(records)] == [
        ("", "computed", 1),
        ("paper", "computed", 1),
        ("", "stored", 1),
        ("paper", "stored", 1),
    ]


def test_costs_are_averaged_and_have_no_interval() -> None:
    records = [record(case=c, jaccard=0.5, gradients=n, seconds=float(n)) for c, n in (("a", 2), ("b", 5))]
    (row,) = summarize(records, with_intervals=True)
    assert (row.value("gradients"), row.value("seconds")) == (3.5, 3.5)
    assert row.intervals == {"jaccard": [0.5, 0.5]}


def test_the_ends_of_an_interval_have_no_interval() -> None:
    facts = {"grade": 0, "probabilities": [0.6, 0.4]}
    (row,) = summarize(
        [record(case=str(i), decided=i % 2, **facts) for i in range(4)],
        ClassificationMetrics(2).summary,
        with_intervals=True,
    )
    low, high = row.metrics["accuracy_low"], row.metrics["accuracy_high"]
    assert (row.value("accuracy"), low, high) == (0.5, pytest.approx(0.15, abs=0.005), pytest.approx(0.85, abs=0.005))
    assert row.intervals is not None
    assert "accuracy" in row.intervals
    assert not {"accuracy_low", "accuracy_high"} & row.intervals.keys()
