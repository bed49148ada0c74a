from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_bench_quick_runs_every_script_that_a_document_rests_on() -> None:
    code = "import bench; print(*(command.split()[0] for command in bench.QUICK), *bench.LONG)"
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    scripts = {json.loads(file.read_text())["script"] for file in (BENCHMARKS / "results").glob("*.json")}
    assert scripts
    missing = {f"{script}.py" for script in scripts} - set(done.stdout.split())
    assert not missing, f"add a small command of {missing} to QUICK of benchmarks/bench.py, or the name to LONG"
