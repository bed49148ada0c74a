"""Through a real PACS: Orthanc, DCMTK's store and get, dciodvfy, ITK's reader and ours."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dicom_files import phantom_series

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TOOLS = ("Orthanc", "dcmdump", "dciodvfy", "unshare")  # pynetdicom has a storescu too, but no dcmdump


@pytest.fixture
def orthanc() -> str:
    """The script that starts it; the test is skipped where it cannot."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: apt-get install orthanc orthanc-gdcm dcmtk dicom3tools")
    script = str(BENCHMARKS / "with_orthanc.sh")
    started = subprocess.run([script, "true"], capture_output=True, text=True, timeout=120)
    if started.returncode:
        pytest.skip(f"Orthanc does not start in a network namespace: {started.stderr.strip().splitlines()[-1:]}")
    return script


@pytest.mark.slow
def test_the_damage_survives_a_pacs(orthanc: str, tmp_path: Path) -> None:
    series, label = phantom_series(tmp_path)
    command = [orthanc, sys.executable, str(BENCHMARKS / "dicom_survival.py"), "--dicom", str(series)]
    command += ["--label", str(label), "--pacs", "127.0.0.1:14242", "--output_dir", str(tmp_path / "out")]
    done = subprocess.run([*command, "--steps", "2", "--eps", "70", "2"], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert result["as_itk"]
    assert result["source_untouched"]
    assert result["clean"] > 0.8
    for row in result["rows"]:
        assert row["conformance_errors"] == 0, done.stderr
        assert 0 < row["largest_difference_hu"] <= row["eps_hu"]
        assert row["from_pacs"] == pytest.approx(row["stored"], abs=1e-6)
        assert abs(row["from_pacs"] - row["computed"]) < 0.01
    by_name = {(row["attack"], row["eps_hu"]): row for row in result["rows"]}
    assert by_name["PGD", 70.0]["from_pacs"] < by_name["Noise", 70.0]["from_pacs"] - 0.04
