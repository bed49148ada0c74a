"""What the machine does to a run: nothing of it is a case's failure, and the same tables come out once it is gone."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import pydoc
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation.test_resume import lasting, plan, quick
from evaluation.test_runner import write_case

from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.errors import (
    DiskFullError,
    FailedCasesError,
    LockedError,
    MachineError,
    OutputError,
    output_trouble,
)
from monai_smia.evaluation.lock import LOCK_FILE, locked
from monai_smia.files import WriteError, replacing


def figure(path: Path, image: torch.Tensor, *rest: Any) -> None:
    """A picture that takes no time."""
    with replacing(path) as temporary:
        temporary.write_bytes(image.numpy().tobytes())


def drawn(cases: list[dict[str, str]], folder: Path, **options: Any) -> AttackEvaluation:
    return quick(cases, folder, **{"attacks": plan()[:3], "figure": figure, "figures": 1} | options)


@pytest.fixture(autouse=True)
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take three quarters of the time, and are part of the page; collecting garbage takes the rest."""
    monkeypatch.setattr(gc, "collect", lambda: 0)
    monkeypatch.setattr("monai_smia.report.html.charts", lambda *args, **options: {})


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, str]], Any, int]:
    """Two cases, what an evaluation of them comes to, and how often it brings a file to the disk."""
    folder = tmp_path_factory.mktemp("whole")
    cases = [write_case(folder, name) for name in "ab"]
    with counted_writes() as count:
        drawn(cases, folder / "out").run()
    return cases, lasting(folder / "out"), len(count)


@contextmanager
def counted_writes(fails_at: int | None = None, error: int = errno.ENOSPC) -> Iterator[list[int]]:
    """Every fsync counted, the n-th of them and all later ones refused."""
    patch, done = pytest.MonkeyPatch(), list[int]()
    fsync = os.fsync

    def counting(file: int) -> None:
        done.append(file)
        if fails_at is not None and len(done) > fails_at:
            raise OSError(error, os.strerror(error))
        fsync(file)

    patch.setattr(os, "fsync", counting)
    try:
        yield done
    finally:
        patch.undo()


@pytest.mark.parametrize("number", [*range(0, 24, 4), pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_is_full_or_read_only_at_any_moment(
    two: Any, error: int, number: int | None, tmp_path: Path
) -> None:
    """Also while the report is made; the slow one goes through all of them."""
    cases, whole, count = two
    assert count >= 20
    for moment in range(count) if number is None else [number]:
        out = tmp_path / str(moment)
        with counted_writes(moment, error), pytest.raises(OutputError) as caught:
            drawn(cases, out).run()
        assert isinstance(caught.value, DiskFullError) is (error == errno.ENOSPC)
        assert "run the same command again: what is done is kept" in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
        summary = drawn(cases, out).run()
        assert not summary["failures"]
        assert lasting(out) == whole


@pytest.mark.parametrize("place", ["volumes", "figures", "journal", "report.html", ".lock", "cases.csv"])
def test_something_in_the_way(two: Any, place: str, tmp_path: Path) -> None:
    """A file where a folder is to be, or a folder where a file is."""
    cases, whole, _ = two
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / place
    path.write_text("x") if not path.suffix and place != ".lock" else path.mkdir()
    with pytest.raises(OutputError, match=rf"{place}.* cannot be written: .*run the same command again"):
        drawn(cases, tmp_path / "out").run()
    path.unlink() if path.is_file() else path.rmdir()
    assert not drawn(cases, tmp_path / "out").run()["failures"]
    assert lasting(tmp_path / "out") == whole


def test_an_output_folder_that_cannot_be_made(two: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        drawn(two[0], tmp_path / "file" / "out", storage=None).run()


STAGES = {
    "loading": "monai_smia.evaluation.runner.load_case",
    "attack": "monai_smia.evaluation.row.attacked",
    "prediction": "monai_smia.evaluation.row.RowEvaluator.score",
    "storing": "monai_smia.storage.nifti._in_source_units",
    "reading back": "monai_smia.storage.nifti.check_whole",
    "metrics": "monai_smia.evaluation.row.perturbation_metrics",
}
FAULTS: dict[str, Callable[[], Exception]] = {
    "memory": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "host memory": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    "device": lambda: RuntimeError("CUDA error: unspecified launch failure"),
    "files": lambda: OSError(errno.EMFILE, "Too many open files"),
}


@contextmanager
def failing(stage: str, fault: str, times: int) -> Iterator[None]:
    """A stage raises a fault the second time it is asked, so many times in a row."""
    patch, calls = pytest.MonkeyPatch(), list[int]()
    original = pydoc.locate(STAGES[stage])

    def spoilt(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if 1 < len(calls) <= 1 + times:
            raise FAULTS[fault]()
        return original(*args, **options)

    patch.setattr(STAGES[stage], spoilt)
    try:
        yield
        assert len(calls) > times
    finally:
        patch.undo()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stage", STAGES)
def test_what_passes_is_tried_again_at_once(two: Any, stage: str, fault: str, tmp_path: Path) -> None:
    cases, whole, _ = two
    with failing(stage, fault, times=2):
        assert not drawn(cases, tmp_path / "out").run()["failures"]
    assert lasting(tmp_path / "out") == whole


@pytest.mark.parametrize(("fault", "stage"), list(zip(FAULTS, STAGES, strict=False)))
def test_what_stays_is_no_cases_failure_for_good(two: Any, stage: str, fault: str, tmp_path: Path) -> None:
    """Without memory the other cases go on, without a device the run ends; both are mended by a run more."""
    cases, whole, _ = two
    expected = FailedCasesError if "memory" in fault else MachineError
    with failing(stage, fault, times=3), pytest.raises(expected) as caught:
        drawn(cases, tmp_path / "out").run()
    if expected is MachineError:
        assert "the machine failed 3 times" in str(caught.value)
        assert not (tmp_path / "out" / "summary.json").exists()
    assert not drawn(cases, tmp_path / "out").run()["failures"]
    assert lasting(tmp_path / "out") == whole


def test_a_failed_case_is_tried_again_when_it_is_asked_for(two: Any, tmp_path: Path) -> None:
    cases, whole, _ = two
    patch = pytest.MonkeyPatch()
    patch.setattr("monai_smia.evaluation.row.attacked", lambda *args: {}["a fault of ours"])
    with pytest.raises(FailedCasesError):
        drawn(cases, tmp_path / "out").run()
    patch.undo()
    with pytest.raises(FailedCasesError):
        drawn(cases, tmp_path / "out").run()
    assert not drawn(cases, tmp_path / "out", retry_failed=True).run()["failures"]
    assert lasting(tmp_path / "out") == whole


def hold(folder: Path, ready: Any) -> None:
    with locked(folder):
        ready.set()
        time.sleep(60)


def test_a_second_process_is_refused_until_the_first_is_gone(two: Any, tmp_path: Path) -> None:
    cases, whole, _ = two
    context = multiprocessing.get_context("fork")
    ready, out = context.Event(), tmp_path / "out"
    owner = context.Process(target=hold, args=(out, ready))
    owner.start()
    assert ready.wait(30)
    with pytest.raises(LockedError) as caught:
        drawn(cases, out).run()
    said = str(caught.value)
    assert f"is in use by process {owner.pid} on {socket.gethostname()}" in said
    assert "Several processes of one run are started by torchrun" in said
    assert sorted(path.name for path in out.iterdir()) == [LOCK_FILE]
    assert owner.pid is not None
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    assert not drawn(cases, out).run()["failures"]
    assert lasting(out) == whole


def test_a_lock_ends_with_its_block_and_is_not_inherited(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    context = multiprocessing.get_context("fork")
    with locked(tmp_path):
        child = context.Process(target=time.sleep, args=(30,))
        child.start()
    with locked(tmp_path), pytest.raises(LockedError, match=f"process {os.getpid()}"), locked(tmp_path):
        pass
    child.terminate()
    child.join()


def test_a_second_run_in_this_process_does_not_lose_the_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")

    def ask(folder: Path, told: Any) -> None:
        try:
            with locked(folder):
                told.put("taken")
        except LockedError:
            told.put("in use")

    told = context.Queue()
    other = context.Process(target=ask, args=(tmp_path, told))
    with locked(tmp_path):
        with pytest.raises(LockedError, match="this one"), locked(tmp_path):
            pass
        forgetting = pytest.MonkeyPatch()
        forgetting.setattr("monai_smia.evaluation.lock._OWN", set())  # as a process that is no child of this one
        other.start()
        forgetting.undo()
        assert told.get(timeout=30) == "in use"
        other.join()


def test_another_error_is_left_alone() -> None:
    with pytest.raises(PermissionError), output_trouble():
        raise PermissionError(errno.EACCES, "Permission denied", "input.nii.gz")
    with pytest.raises(OutputError, match=r"^a\.png cannot be written; mend"), output_trouble():
        raise ValueError("in other words") from WriteError(errno.EIO, "a.png cannot be written")


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*args: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", none)
    with locked(tmp_path):
        assert "has no locks: see to it that no other run has it" in caplog.text
