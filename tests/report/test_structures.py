"""The structures of a report: which have tables, what stands in them, and what is said of voxel sizes."""

from __future__ import annotations

from typing import Any

import pytest
from record_helpers import record

from monai_smia.analysis import summarize
from monai_smia.analysis.statistics import Sample, intervals, mean_of
from monai_smia.metrics import SegmentationMetrics
from monai_smia.metrics.structures import structure_of, structures_of
from monai_smia.records import SummaryRow
from monai_smia.report.content import _voxel_sizes
from monai_smia.report.structure_tables import MAX_STRUCTURES, structure_metrics, structure_tables
from monai_smia.report.summary_table import summary_table


class Content:
    """What the tables look at."""

    def __init__(self, rows: list[SummaryRow]) -> None:
        self.rows = rows


def rows(names: list[str], lost: list[float], cases: int = 2) -> Any:
    """A clean row and an attacked one; each structure loses so much."""
    records = []
    for attack, part in (("Clean", 0.0), ("BIM", 1.0)):
        for number in range(cases):
            values: dict[str, Any] = {"jaccard": 0.5, "spacing_mm": [1.0, 1.0, 2.0]}
            for name, loss in zip(names, lost, strict=True):
                change = {} if attack == "Clean" else {f"volume_change_ml_{name}": -float(number + 1)}
                values |= {f"jaccard_{name}": 0.9 - part * loss, f"volume_ml_{name}": 10.0, **change}
            records.append(record(attack, case=str(number), **values))
    return Content(summarize(records, SegmentationMetrics(2).summary))


def test_columns_are_the_structures_own_and_leave_those_out_that_none_defines() -> None:
    content = rows(["lung", "left_lung"], [0.2, 0.4])
    one, other = structure_tables(content)
    assert (one.name, other.name) == ("lung", "left_lung")
    assert list(one.scores.heads) == ["attack", "jaccard"]
    assert list(other.volumes.heads) == ["attack", "volume_ml", "volume_change_ml", "cv_volume_change_ml"]
    assert [str(line[1])[:5] for line in other.scores.lines] == ["0.900", "0.500"]
    assert str(other.volumes.lines[1][3]).startswith("0.471")  # of -1 and -2: 0.707 over 1.5
    assert str(other.volumes.lines[0][2]) == "-"
    assert structure_metrics(content) == ["jaccard", "volume_ml", "volume_change_ml", "cv_volume_change_ml"]


def test_the_table_of_the_console_has_none_of_them() -> None:
    heads = summary_table(rows(["lung", "left_lung"], [0.2, 0.4]).rows, "jaccard").heads
    assert "jaccard" in heads
    assert not [name for name in heads if name.endswith("lung")]


def test_of_many_those_that_lose_most_in_their_own_order() -> None:
    names = [f"organ {number}" for number in range(30)]
    lost = [((7 * number) % 30) / 40 for number in range(30)]
    found = [each.name for each in structure_tables(rows(names, lost))]
    most = sorted(range(30), key=lambda number: -lost[number])[:MAX_STRUCTURES]
    assert found == [names[number] for number in sorted(most)]


def test_the_longest_name_owns_a_metric() -> None:
    names = structures_of(["jaccard", "jaccard_lung", "jaccard_left_lung"])
    assert [structure_of(f"hd95_{name}", names) for name in ("lung", "left_lung")] == ["lung", "left_lung"]
    assert structure_of("hd95", names) is None


@pytest.mark.parametrize(
    "name", ["volume_ml_lung", "volume_change_percent_lung", "invented_ml", "hd95", "false_lesions_1"]
)
def test_what_may_be_of_any_size_is_no_share_where_it_happens_to_be_0_or_1(name: str) -> None:
    samples = [Sample(str(number), str(number), {name: 0.0}) for number in range(40)]
    assert mean_of(samples, name).interval is None
    samples += [Sample("other", "other", {name: 1.0})]
    assert (
        mean_of(samples, name).interval
        != mean_of([Sample(s.case, s.patient, {"x": s.values[name]}) for s in samples], "x").interval
    )


def test_a_coefficient_of_variation_has_no_interval() -> None:
    samples = [Sample(str(n), str(n), {"volume_change_ml_1": -1.0 - n / 50, "jaccard_1": 0.5}) for n in range(40)]
    found = intervals(samples, SegmentationMetrics(2).summary)
    assert "cv_volume_change_ml_1" not in found
    assert found["volume_change_ml_1"] is not None


def test_what_is_said_of_voxel_sizes() -> None:
    sure = record(case="sure", invented_ml=0.0, spacing_mm=[0.7, 0.7, 1.0])
    assert _voxel_sizes([sure]) == []
    assumed = [record(case=case, invented_ml=0.0, spacing_mm=[1.0, 1.0, 1.0]) for case in "ab"]
    assert [text.partition(" voxels")[0] for text in _voxel_sizes([sure, *assumed])] == ["In 2 of 3 cases"]
    unknown = record(case="unknown", invented_voxels=3.0)
    assert _voxel_sizes([sure, unknown]) == [
        "In 1 of 2 cases voxels have no known size: distances and volumes are in voxels."
    ]
    assert _voxel_sizes([record(accuracy=1.0)]) == []
