from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_smia.records import STORED, Failure, Flag, RecordVersionError, RowKey, Summary, SummaryRow
from monai_smia.records.summary import AtRadius, Headline

ROW = SummaryRow(RowKey("BIM", eps=0.1), STORED, 3, {"jaccard": 0.5, "hd95": None}, 2, {"jaccard": [0.25, 0.75]})


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    plain = SummaryRow(RowKey(), STORED, 3, {"jaccard": 0.5})
    headline = Headline("jaccard", 0.9, True, [AtRadius(0.1, 10.0, "linf", 0.8, 0.5, [0.25, 0.75], 3)])
    summary = Summary([ROW, plain], [Flag("a", "b")], [Failure("c", "error", "x")], 4, 3, "HU", 1.5, headline)
    summary.write(tmp_path)
    assert Summary.read(tmp_path) == summary
    flat = json.loads((tmp_path / "summary.json").read_text())["rows"][0]
    assert (flat["attack"], flat["stage"], flat["jaccard"], flat["below_quantization"]) == ("BIM", "stored", 0.5, 2)
    assert flat["intervals"] == {"jaccard": [0.25, 0.75]}


def test_a_summary_of_version_0_1_is_refused(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"rows": []}))
    with pytest.raises(RecordVersionError, match=r"summary\.json is of monai_smia 0\.1\.0"):
        Summary.read(tmp_path)


def test_values_and_intervals_that_are_not_there() -> None:
    assert (ROW.value("jaccard"), ROW.value("hd95"), ROW.value("dice")) == (0.5, None, None)
    assert (ROW.interval("jaccard"), ROW.interval("dice")) == ([0.25, 0.75], None)
