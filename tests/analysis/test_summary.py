from __future__ import annotations

import json
from pathlib import Path

from monai_smia.analysis.summary import summarize, write_summary
from monai_smia.metrics import ClassificationMetrics


def record(case: str, jaccard: float | None, attack: str = "BIM") -> dict[str, object]:
    return {"case": case, "attack": attack, "status": "ok", "stage": "computed", "jaccard": jaccard}


def test_means_leave_out_what_is_undefined_and_who_failed() -> None:
    records = [record("a", 0.2), record("b", None), record("c", 0.4), record("d", 0.9)]
    records.append({"case": "d", "status": "failed", "reason": "x"})
    (row,) = summarize(records)
    assert abs(row["jaccard"] - 0.3) < 1e-12
    assert row["cases"] == 3


def test_undefined_for_all_is_null(tmp_path: Path) -> None:
    records = [record("a", None)]
    write_summary(tmp_path, {"rows": summarize(records)}, records)
    assert json.loads((tmp_path / "summary.json").read_text())["rows"][0]["jaccard"] is None
    assert (tmp_path / "cases.csv").read_text().splitlines()[0].startswith("case,attack")
    assert [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()] == records


def test_rows_keep_their_order() -> None:
    rows = summarize([record("a", 1.0, "Clean"), record("a", 0.1, "BIM"), record("b", 1.0, "Clean")])
    assert [row["attack"] for row in rows] == ["Clean", "BIM"]


def test_the_ends_of_an_interval_have_no_interval() -> None:
    grades = [{"case": str(i), "attack": "BIM", "status": "ok", "stage": "computed"} for i in range(4)]
    records = [r | {"grade": 0, "decided": i % 2, "probabilities": [0.6, 0.4]} for i, r in enumerate(grades)]
    (row,) = summarize(records, ClassificationMetrics(2).summary, with_intervals=True)
    assert (row["accuracy"], round(row["accuracy_low"], 2), round(row["accuracy_high"], 2)) == (0.5, 0.15, 0.85)
    assert "accuracy" in row["intervals"]
    assert not {"accuracy_low", "accuracy_high"} & row["intervals"].keys()
