"""The files that other packages test themselves with: none is wrong."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

PACKAGES = ("pydicom", "data_store", "highdicom", "nibabel", "PIL", "skimage", "sklearn", "matplotlib")


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.filterwarnings("ignore")
def test_loaded_equal_or_refused_for_a_true_cause(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2] / "benchmarks"), *sys.path])
    foreign = importlib.import_module("foreign_files")
    assert tuple(foreign.PACKAGES) == PACKAGES
    row = foreign.sweep(package)
    if not row["files"]:
        pytest.skip(f"{package} is not installed, or without files to read")
    assert row["wrongs"] == []
    assert row["loaded"] + row["refused"] == row["files"]
