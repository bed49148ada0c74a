"""A test of a product that is killed on either side goes on, and loses a query at most for each kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom", reason="needs pynetdicom: pip install 'monai_smia[dicom]'")
pytest.importorskip("highdicom", reason="needs highdicom: pip install 'monai_smia[dicom]'")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_three_kills_cost_three_queries_at_most() -> None:
    line = [sys.executable, "product_kills.py", "--kills", "3", "--queries", "4"]
    done = subprocess.run(line, cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # a claim that is not true of the rows is an error
    assert "A kill costs one query at most" in done.stdout
