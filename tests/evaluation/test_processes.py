"""Several processes: the same records as one, none twice, none lost."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import pytest
import torch
from evaluation.test_resume import lasting, quick
from evaluation.test_runner import write_case

from monai_smia.data import write_ct_phantoms
from monai_smia.evaluation.errors import FailedCasesError, LostWorkerError
from monai_smia.metrics import SegmentationMetrics

BUNDLE = Path(__file__).parents[2] / "bundles" / "ct_lung_segmentation"


class Deadly(SegmentationMetrics):
    """Takes its process with it."""

    def case(self, *args: Any) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def worker(rank: int, processes: int, store: Path, cases: Any, out: Path, outcome: Any, *, dies: int = -1) -> None:
    torch.set_num_threads(1)
    options = {"init_method": f"file://{store}", "rank": rank, "world_size": processes}
    idist.initialize("gloo", timeout=timedelta(seconds=120), **options)
    try:
        metrics = Deadly(2) if rank == dies else SegmentationMetrics(2)
        outcome[rank] = (quick(cases, out, metrics=metrics).run() or {}).get("evaluated")
    except (FailedCasesError, LostWorkerError) as error:
        outcome[rank] = str(error)
    idist.finalize()


def in_processes(processes: int, tmp_path: Path, cases: Any, out: Path, *, dies: int = -1) -> dict[int, Any]:
    context = multiprocessing.get_context("fork")
    outcome = context.Manager().dict()
    store = tmp_path / f"store{time.monotonic_ns()}"
    workers = [
        context.Process(target=worker, args=(r, processes, store, cases, out, outcome), kwargs={"dies": dies})
        for r in range(processes)
    ]
    for process in workers:
        process.start()
    for rank, process in enumerate(workers):
        process.join()
        assert process.exitcode == (-signal.SIGKILL if rank == dies else 0)
    return dict(outcome)


def test_two_processes_make_the_records_of_one(tmp_path: Path) -> None:
    cases = [write_case(tmp_path, f"c{i}") for i in range(5)]
    quick(cases, tmp_path / "one").run()
    assert in_processes(2, tmp_path, cases, tmp_path / "two") == {0: 5, 1: None}  # one report, from the first
    assert lasting(tmp_path / "two") == lasting(tmp_path / "one")
    done = {
        path.name: {json.loads(line)["case"] for line in path.read_text().splitlines()}
        for path in (tmp_path / "two" / "journal").glob("*.jsonl")
    }
    assert done == {"rank0.jsonl": {"c0", "c2", "c4"}, "rank1.jsonl": {"c1", "c3"}}


def test_fewer_cases_than_processes_and_one_that_fails(tmp_path: Path) -> None:
    cases = [write_case(tmp_path, f"c{i}") for i in range(2)]
    Path(cases[1]["image"]).write_bytes(b"no volume")
    outcome = in_processes(3, tmp_path, cases, tmp_path / "out")
    assert outcome[0].startswith("1 of 2 cases failed: c1")
    assert (outcome[1], outcome[2]) == (None, None)  # only the first ends with an error, after the merge


def test_a_process_that_dies_is_named_and_what_is_done_is_kept(tmp_path: Path) -> None:
    cases = [write_case(tmp_path, f"c{i}") for i in range(3)]
    quick(cases, tmp_path / "one").run()
    outcome = in_processes(2, tmp_path, cases, tmp_path / "two", dies=1)
    assert "another process of this evaluation is gone" in outcome[0]
    kept = (tmp_path / "two" / "journal" / "rank0.jsonl").read_bytes()
    assert quick(cases, tmp_path / "two").run()["evaluated"] == 3
    assert (tmp_path / "two" / "journal" / "rank0.jsonl").read_bytes().startswith(kept)
    assert lasting(tmp_path / "two") == lasting(tmp_path / "one")


def test_records_that_a_lost_process_did_not_leave_are_named(tmp_path: Path) -> None:
    cases = [write_case(tmp_path, f"c{i}") for i in range(2)]
    evaluation = quick(cases[:1], tmp_path / "out")
    evaluation.run()
    progress = quick(cases, tmp_path / "out").make_progress()
    with pytest.raises(LostWorkerError, match=r"\['c1'\]"):
        progress.merge()


@pytest.mark.slow
def test_torchrun_on_the_bundle_with_a_worker_killed(tmp_path: Path) -> None:
    """The documented command on four small phantoms; a worker dies on the way and torchrun restarts the run."""
    data = write_ct_phantoms(tmp_path / "ct", 4, size=(48, 48, 32), spacing=(5.0, 5.0, 6.0), seed=5)
    base, overlay = (str(BUNDLE / "configs" / f"{name}.yaml") for name in ("attack_eval", "multi_gpu_attack_eval"))
    run = ["-m", "monai.bundle", "run", "attack_eval", "--bundle_root", str(BUNDLE), "--dataset_dir", str(data)]
    run += ["--split", "$None", "--steps", "2", "--evaluation::attacks", "$@attacks[:4]"]  # Clean, Noise, FGSM, BIM
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LOGLEVEL": "INFO"}
    one, two = tmp_path / "one", tmp_path / "two"
    alone = [sys.executable, *run, "--config_file", base, "--output_dir", str(one)]
    subprocess.run(alone, check=True, env=environment, capture_output=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=2"]
    torchrun += ["--max-restarts=3", *run, "--config_file", f"['{base}','{overlay}']", "--output_dir", str(two)]
    log = tmp_path / "torchrun.txt"
    with log.open("w") as stream:
        process = subprocess.Popen(torchrun, env=environment, stdout=stream, stderr=stream)
    journal = two / "journal" / "rank1.jsonl"
    while not (journal.exists() and journal.read_text().count("\n") >= 2):  # two of the eight rows of its share
        time.sleep(0.05)
        assert process.poll() is None, log.read_text()
    os.kill(worker_of(process.pid, rank=1), signal.SIGKILL)
    assert process.wait() == 0, log.read_text()
    assert log.read_text().count("will restart worker group") == 1
    assert lasting(two) == lasting(one)
    keys = [(record["key"], record["stage"]) for record in lasting(two)[0]]
    assert len(keys) == len(set(keys)) == 4 * (1 + 2 * 3)


def worker_of(torchrun: int, rank: int) -> int:
    """The process id of a rank: the child that says so in its environment."""
    for child in Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split():
        if f"\0RANK={rank}\0" in Path(f"/proc/{child}/environ").read_text():
            return int(child)
    raise AssertionError(f"no worker of rank {rank}")
