"""A criterion of the user's own, from the argument to summary, page and exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluation.test_resume import quick
from evaluation.test_runner import write_case

from monai_smia.command_line import end_unless_met
from monai_smia.records import Summary
from monai_smia.report import write_report
from monai_smia.report.document import SCHEMA


def test_it_stands_in_summary_page_and_document(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases, out = [write_case(tmp_path, name) for name in "ab"], tmp_path / "out"
    accept = ["jaccard >= 0.01 at 70 HU", "dice >= 0.999 at eps 0.05"]
    with caplog.at_level("INFO", logger="monai_smia"):
        summary = quick(cases, out, accept=accept).run()
    assert [(v["criterion"], v["met"], v["cases"]) for v in summary["criteria"]] == [
        (accept[0], True, 2),
        (accept[1], False, 2),
    ]
    assert summary["criteria"][0]["value"] == summary["headline"]["radii"][0]["attacked"]
    assert Summary.from_json(summary).to_json() == summary
    assert f"Criterion {accept[1]}: not met, the worst-case mean of 2 cases is" in caplog.text
    jsonschema = pytest.importorskip("jsonschema")
    content = json.loads((out / "report.json").read_text())
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(content)
    assert content["criteria"] == summary["criteria"]
    write_report(out)  # anew, of the files alone
    page = (out / "report.html").read_text()
    assert "user's own criterion, met:</strong> jaccard &gt;= 0.01 at 70 HU: met" in page
    assert "user's own criterion, not met:</strong> dice &gt;= 0.999 at eps 0.05: not met" in page
    assert "<dd>jaccard &gt;= 0.01 at 70 HU; dice &gt;= 0.999 at eps 0.05</dd>" in page
    with pytest.raises(SystemExit) as ended:
        end_unless_met(summary)
    assert ended.value.code == 3
    again = quick(cases, out, accept="jaccard >= 0.01 at 70 HU").run()  # another criterion computes nothing anew
    assert again["rows"] == summary["rows"]
    end_unless_met(again)
    end_unless_met({})  # of processes other than the first


def test_what_cannot_be_told_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    case, out = write_case(tmp_path, "a"), tmp_path / "out"
    for accept in ("jaccard >= 0.8 at 71 HU", "jaccard lower end >= 0.8 at 70 HU", "kappa >= 0.8 at 70 HU"):
        with pytest.raises(ValueError, match=f"^accept '{accept}' must"):
            quick([case], out, accept=accept)
    assert not out.exists()
