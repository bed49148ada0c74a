"""The lung bundle as a product gives its figures in process, whatever lies between: a command, a node, Orthanc."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

for name in ("pynetdicom", "highdicom", "dicomweb_client"):
    pytest.importorskip(name, reason=f"needs {name}: pip install 'monai_smia[dicom]'")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_figures_are_those_in_process_in_every_way() -> None:
    line = [sys.executable, "product_ways.py", "--queries", "1"]
    done = subprocess.run(line, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # a claim that is not true of the rows is an error
    others = 5 if shutil.which("Orthanc") else 3
    assert f"Every record of the other {others} ways, computed and stored, is that in process" in done.stdout
    if others == 3:
        assert "Orthanc is not installed: the ways through it are left out" in done.stdout
        pytest.skip("Orthanc is not installed, and the ways through it were left out: see benchmarks/with_orthanc.sh")


def test_a_record_that_differs_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """One digit of one record."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("product_ways", BENCHMARKS / "product_ways.py")
    assert spec is not None
    assert spec.loader is not None
    ways = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ways)
    row = {"queries": 9, "records": 7, "expected": 7, "equal": 7, "clean": 0.9, "search": 0.5}
    rows = [{**row, "way": "in process"}, {**row, "way": "a command"}]
    assert "is that in process to the last digit" in ways.TABLES["table"].markdown(rows)
    for changed in ({"equal": 6}, {"expected": 8}, {"queries": 10}):
        with pytest.raises(ValueError, match="not true of the rows"):
            ways.TABLES["table"].markdown([rows[0], {**rows[1], **changed}])
