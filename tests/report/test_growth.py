"""Ten thousand records merged and rendered in seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

GROWTH = """
import json, sys, time
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, {tests!r})
from evaluation.test_runner import evaluation
from monai_smia.evaluation import paper_comparison
from monai_smia.records import COMPUTED, STORED, Costs, Record
from monai_smia.records.journal import _with_checksum
folder = Path({folder!r})
cases = [{{"case": f"c{{i:04d}}", "patient": f"p{{i % 250}}", "image": "", "label": ""}} for i in range(500)]
plan = [row for row in paper_comparison([0.01, 0.03], steps=10, clip=None)]
run = evaluation(cases, folder, attacks=plan)
progress = run.make_progress()
progress.open()
import random
random.seed(0)
with (folder / "journal" / "rank0.jsonl").open("wb") as file:
    for item in cases:
        for row in plan:
            score = random.random()
            metrics = {{"damage": 1 - score, "jaccard": score, "dice": score, "accuracy": score, "hd95": 3.0,
              "linf": 1.0, "var": 0.5, "ssim": 0.9, "psnr": 30.0}}
            history = {{name: [0.1] * 11 for name in ("loss", "linf", "variance", "cosine")}}
            records = [Record(row.key("HU"), stage, item["case"], metrics=metrics, costs=Costs(0.1, 10, 10, 0),
              history=history) for stage in ([COMPUTED] if row.attack is None else [COMPUTED, STORED])]
            text = json.dumps(progress.line(item, row, records).to_json()).encode()
            file.write(_with_checksum(text) + b"\\n")
start = time.process_time()
summary = evaluation(cases, folder, attacks=plan).run()
# not ru_maxrss, which a child has from the process that forked it
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({{"seconds": time.process_time() - start, "evaluated": summary["evaluated"],
  "megabytes": int(peak.split()[1]) / 1024}}))
"""


def test_ten_thousand_records(tmp_path: Path) -> None:
    """500 cases x 19 rows, most of them stored, too: 18,500 records merged and rendered."""
    code = GROWTH.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path / "out"))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    records = sum(1 for _ in (tmp_path / "out" / "records.jsonl").open())
    assert records >= 10_000
    assert found["evaluated"] == 500
    assert found["seconds"] < 20
    assert found["megabytes"] < 1024
