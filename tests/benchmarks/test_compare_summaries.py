from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "compare_summaries.py"
KEY = {"attack": "BIM", "setting": "equal radius", "loss": None, "eps": 0.1, "norm": "linf", "steps": 2, "alpha": None}
ROW: dict[str, Any] = {**KEY, "stage": "stored", "cases": 2, "jaccard": 0.5, "hd95": None, "seconds": 1.0, "erased": 1}
ROW |= {"intervals": {"jaccard": [0.25, 0.75], "hd95": None}}
ROWS = [ROW, {**ROW, "setting": "25 iterations", "steps": 25}, {**ROW, "setting": "alpha 0.75", "alpha": 0.75}]


def compared(folder: Path, after: list[dict[str, Any]], *options: str) -> subprocess.CompletedProcess[str]:
    for name, rows in (("before", ROWS), ("after", after)):
        (folder / name).mkdir()
        (folder / name / "summary.json").write_text(json.dumps({"rows": rows}))
    command = [sys.executable, str(SCRIPT), str(folder / "before"), str(folder / "after" / "summary.json"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_renamed_columns_and_settings_and_other_times_are_the_same(tmp_path: Path) -> None:
    after = copy.deepcopy(ROWS)
    for row, setting in zip(after, ("equal radius", "iterations", "alpha"), strict=True):
        row |= {"setting": setting, "seconds": 9.0, "below_quantization": row.pop("erased"), "jaccard": 0.5 + 1e-9}
    done = compared(tmp_path, after)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 rows compared, 15 values; largest difference 1e-09 (jaccard of BIM" in done.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"jaccard": 0.5001}, "jaccard was 0.5, is 0.5001"),
        ({"jaccard": None}, "jaccard was 0.5, is None"),
        ({"hd95": 1.0}, "hd95 was None, is 1.0"),
        ({"dice": 0.5}, "dice was None, is 0.5"),
        ({"erased": 0}, "below_quantization was 1, is 0"),
        ({"intervals": {"jaccard": [0.25, 0.76]}}, "interval of jaccard, high was 0.75, is 0.76"),
        ({"eps": 0.2}, "only in AFTER: BIM, equal radius, 0.2"),
    ],
)
def test_a_difference_is_named_and_fails(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    done = compared(tmp_path, [{**ROW, **change}, *ROWS[1:]])
    assert done.returncode == 1
    assert said in done.stdout


def test_the_tolerance_is_the_readers(tmp_path: Path) -> None:
    done = compared(tmp_path, [{**ROW, "jaccard": 0.51}, *ROWS[1:]], "--tolerance", "0.02")
    assert done.returncode == 0, done.stdout
