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
    assert row.intervals == {"jaccard": None}
    assert (row.listed, row.patients) == ({"jaccard": [0.5, 0.5]}, 2)


@pytest.mark.parametrize("images", [1, 4])
def test_the_ends_that_a_metric_brings_along_are_those_of_patients(images: int) -> None:
    """Eight patients, of whom half are right: four images each of them say no more than one."""
    (row,) = summarize(
        [
            record(
                case=f"{i} {k}", patient=str(i), accuracy=float(i % 2), decided=i % 2, grade=1, probabilities=[0.5, 0.5]
            )
            for i in range(8)
            for k in range(images)
        ],
        ClassificationMetrics(2).summary,
        with_intervals=True,
        shares=ClassificationMetrics(2).shares,
    )
    low, high = row.metrics["accuracy_low"], row.metrics["accuracy_high"]
    assert (row.value("accuracy"), [low, high]) == (0.5, row.interval("accuracy"))
    assert low == pytest.approx(0.157, abs=0.02 * images)
    assert high == pytest.approx(0.843, abs=0.02 * images)
    assert row.intervals is not None
    assert not {"accuracy_low", "accuracy_high"} & row.intervals.keys()
    (few,) = summarize([record(accuracy=1.0, decided=0, grade=0, probabilities=[0.5, 0.5])],
                       ClassificationMetrics(2).summary, with_intervals=True)  # fmt: skip
    assert (few.metrics["accuracy_low"], few.metrics["accuracy_high"]) == (None, None)


def test_a_mean_names_its_n() -> None:
    values = {"a": None, "b": 2.0, "c": 4.0, "d": None}
    (row,) = summarize(
        [record(case=c, patient="p" if c == "d" else "q", jaccard=0.5, hd95=v) for c, v in values.items()]
    )
    assert (row.cases, row.patients, row.known, row.value("hd95")) == (4, 2, {"hd95": [2, 1]}, 3.0)


def test_an_image_that_was_left_alone_has_no_size_in_any_column() -> None:
    sizes = {"linf": 0.1, "l2": 1.0, "var": 0.5, "rms": 0.7, "cos": 50.0, "ssim": 0.9, "psnr": 30.0, "at_bound": 0.4}
    alone = dict.fromkeys(sizes, 0.0) | {"ssim": 1.0, "psnr": None, "cos": None}
    records = [record(case="a", accuracy=0.0, **sizes), record(case="b", accuracy=0.0, **alone)]
    (row,) = summarize(records, with_intervals=True)
    assert {name: row.value(name) for name in sizes} == sizes
    assert {tuple(row.known[name]) for name in sizes} == {(1, 1)}
    assert (row.unchanged, row.value("accuracy"), "accuracy" in row.known) == (1, 0.0, False)


def test_the_summary_of_an_evaluation_has_intervals() -> None:
    """Of six patients; of fewer their values."""
    for patients in (5, 6):
        records = [record(case=str(i), patient=str(i), jaccard=0.5 + i / 100) for i in range(patients)]
        (row,) = summary_of(records, SegmentationMetrics(2), cases=patients).rows
        assert (row.intervals["jaccard"] is not None) == (patients == 6)
        assert ("jaccard" in row.listed) == (patients == 5)


def test_the_time_of_an_evaluation_is_that_of_its_computed_rows() -> None:
    known = [record(case=case, jaccard=0.5, seconds=seconds) for case, seconds in (("a", 2.5), ("b", None))]
    outcomes: list[Outcome] = [*known, record(case="a", stage="stored", jaccard=0.5), Failure("c", "error", "x")]
    found = summary_of(outcomes, SegmentationMetrics(2), cases=3, unit="HU")
    assert (found.seconds, found.cases, found.evaluated, found.unit) == (2.5, 3, 2, "HU")
    assert [failure.case for failure in found.failures] == ["c"]
