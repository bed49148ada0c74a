"""Notebooks: whole, without errors and places of a machine in their outputs; their code runs as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SHORT = {'"gradients": 4': '"gradients": 2', "range(30)": "range(12)", "steps=8": "steps=3", "steps=6": "steps=2"}
EVERY = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path) -> list[dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["ct_bundle", "dicom_series", "own_network"]


@EVERY
def test_outputs_are_there_and_name_no_machine(path: Path) -> None:
    outputs = [output for cell in cells(path) for output in cell["outputs"]]
    assert len(outputs) >= 5
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result", "display_data"}
    assert not re.search(r"(?<![\w/])/(tmp|home|root|work|Users|usr)\b", json.dumps(outputs))
    assert [cell["execution_count"] for cell in cells(path)] == list(range(1, 1 + len(cells(path))))


def test_what_verify_says_in_one() -> None:
    (path,) = (path for path in NOTEBOOKS if path.stem == "ct_bundle")
    text = json.dumps(cells(path)[-1]["outputs"])
    assert "Nothing differs." in text
    assert text.count("to the last digit") == 2


@pytest.mark.slow
@EVERY
def test_the_code_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.stem == "dicom_series":
        pytest.importorskip("highdicom", reason="extra `dicom`")
    monkeypatch.chdir(ROOT)
    matplotlib.use("Agg")
    names: dict[str, Any] = {"__name__": path.stem}
    for cell in cells(path):
        code = "".join(cell["source"])
        for long, short in SHORT.items():
            code = code.replace(long, short)
        exec(compile(code, str(path), "exec"), names)
    if path.stem == "ct_bundle":
        assert names["found"].status == 0
