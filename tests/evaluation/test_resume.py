"""Killed, resumed, changed, refused."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from evaluation.test_runner import LOAD, Threshold, evaluation, write_case

from monai_smia.attacks import BIM, SMIA, Noise
from monai_smia.evaluation import AttackEvaluation, PlannedAttack
from monai_smia.evaluation.errors import ConfigurationError, DiskFullError, FailedCasesError
from monai_smia.evaluation.row import RowEvaluator
from monai_smia.metrics import SegmentationMetrics
from monai_smia.records import RecordVersionError
from monai_smia.report.figures import segmentation_figure
from monai_smia.storage import NiftiStorage
from monai_smia.victims import SegmentationVictim

pytestmark = pytest.mark.usefixtures("no_charts")

CLIP = (-1024.0, 3071.0)


class Scaled(torch.nn.Module):
    """HU straight into the threshold, so that a case takes milliseconds."""

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.body = Threshold()
        self.register_buffer("bias", torch.tensor(bias))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.body((image + 1000) / 1400 + self.bias)


def plan() -> list[PlannedAttack]:
    options: dict[str, Any] = {"eps": 70.0, "clip": CLIP, "progress": False}
    attacks = [Noise(**options), BIM(steps=2, **options), SMIA(steps=2, **options)]
    return [PlannedAttack(), *(PlannedAttack(attack, 0.05, "equal radius") for attack in attacks)]


def quick(cases: list[dict[str, str]], folder: Path, **options: Any) -> AttackEvaluation:
    settings: dict[str, Any] = {
        "victim": SegmentationVictim(Scaled()),
        "attacks": plan(),
        "storage": NiftiStorage(folder / "volumes"),
    }
    return evaluation(cases, folder, **settings | options)


def lasting(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, bytes], list[str]]:
    """What must not depend on the interruptions: records, summary rows, figures, and which volumes are kept."""
    timeless = lambda values: [{n: v for n, v in value.items() if n != "seconds"} for value in values]  # noqa: E731
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    rows = json.loads((folder / "summary.json").read_text())["rows"]
    figures = {path.name: path.read_bytes() for path in (folder / "figures").glob("*")}
    return timeless(records), timeless(rows), figures, sorted(path.name for path in (folder / "volumes").glob("*"))


class Counted:
    """Counts the rows that are evaluated."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[tuple[str, str]] = []
        original = RowEvaluator.__call__

        def counting(evaluator: RowEvaluator, case: Any, row: Any, **options: Any) -> Any:
            self.rows.append((case.name, row.name))
            return original(evaluator, case, row, **options)

        monkeypatch.setattr(RowEvaluator, "__call__", counting)

    def since(self) -> list[tuple[str, str]]:
        done, self.rows = self.rows, []
        return done


def test_only_what_is_missing_or_changed_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [write_case(tmp_path, name) for name in "ab"]
    counted, out = Counted(monkeypatch), tmp_path / "out"
    names = [row.name for row in plan()]
    first = quick(cases, out).run()
    assert len(counted.since()) == 8
    assert quick(cases, out).run() == first
    assert counted.since() == []
    os.utime(cases[0]["image"])  # touched, not changed
    quick(cases, out).run()
    assert counted.since() == []
    nib.save(
        nib.Nifti1Image(np.asarray(nib.load(cases[0]["image"]).dataobj) + 1, np.diag([-2, -2, 2, 1])), cases[0]["image"]
    )
    quick(cases, out).run()
    assert counted.since() == [("a", name) for name in names]
    more = [*plan()[:-1], PlannedAttack(SMIA(eps=70.0, steps=2, clip=CLIP, alpha=0.5), 0.05, "equal radius")]
    quick([*cases, write_case(tmp_path, "c")], out, attacks=more).run()
    assert counted.since() == [("a", "SMIA"), ("b", "SMIA"), *(("c", name) for name in names)]
    assert len((out / "records.jsonl").read_text().splitlines()) == 3 * 7
    quick(cases, out, resume=False).run()
    assert len(counted.since()) == 8


def test_a_label_that_is_no_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image's file stands, and with it its times of change."""
    case, counted = write_case(tmp_path, "a"), Counted(monkeypatch)
    for grade, rows in ((1, 4), (1, 0), (2, 4), (2, 0)):
        quick([{**case, "grade": grade}], tmp_path / "out").run()  # type: ignore[dict-item]
        assert len(counted.since()) == rows


def test_records_of_another_configuration_are_not_mixed(tmp_path: Path) -> None:
    case, out = write_case(tmp_path, "a"), tmp_path / "out"
    quick([case], out).run()
    before = (out / "summary.json").read_text()
    others: list[tuple[str, dict[str, Any]]] = [
        ("weights", {"victim": SegmentationVictim(Scaled(0.01))}),
        ("victim", {"victim": SegmentationVictim(Scaled(), loss="soft_jaccard")}),
        ("metrics", {"metrics": SegmentationMetrics(3)}),
        ("data_range", {"data_range": 1.0}),
        ("storage", {"storage": None}),
    ]
    for name, options in others:
        with pytest.raises(ConfigurationError, match=rf"{name} .*resume=False"):
            quick([case], out, **options).run()
    assert (out / "summary.json").read_text() == before
    quick([case], out, figure=segmentation_figure, write_volumes=False).run()  # these change no record


def test_records_of_version_0_1_are_refused_and_replaced_when_asked(tmp_path: Path) -> None:
    case, out = write_case(tmp_path, "a"), tmp_path / "out"
    quick([case], out).run()
    journal = out / "journal" / "rank0.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    kept = [{n: v for n, v in line.items() if n not in ("version", "checksum", "run")} for line in lines]
    journal.write_text("".join(json.dumps(line) + "\n" for line in kept))
    with pytest.raises(RecordVersionError, match=r"of monai_smia 0\.1\.0.*resume=False"):
        quick([case], out).run()
    assert quick([case], out, resume=False).run()["evaluated"] == 1


def test_an_input_that_changed_counts_though_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hours back between the runs, and the file's own times with it."""
    case, out = write_case(tmp_path, "a"), tmp_path / "out"
    before = quick([case], out).run()["rows"]
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - 7200)

    def darker(image: np.ndarray, label: np.ndarray) -> None:
        image[:] -= 300

    write_case(tmp_path, "a", darker)
    os.utime(case["image"], (clock() - 7200, clock() - 7200))
    after, fresh = (quick([case], folder).run()["rows"] for folder in (out, tmp_path / "fresh"))
    figures = [[row["jaccard"] for row in rows] for rows in (before, after, fresh)]
    assert figures[1] == figures[2] != figures[0]
    assert [row["jaccard"] for row in quick([case], out).run()["rows"]] == figures[1]  # and stays


def test_a_damaged_line_is_named_and_done_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    case, out = write_case(tmp_path, "a"), tmp_path / "out"
    rows = quick([case], out).run()["rows"]
    journal = out / "journal" / "rank0.jsonl"
    data = bytearray(journal.read_bytes())
    place = data.index(b'"jaccard": 0.', data.index(b"\n")) + len(b'"jaccard": 0.')
    data[place] ^= 1  # another digit
    journal.write_bytes(data)
    again = quick([case], out).run()["rows"]
    assert "rank0.jsonl, line 2 is torn or damaged" in caplog.text
    assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in rows]


def test_what_killed_processes_left_half_written_is_removed(tmp_path: Path) -> None:
    case, out = write_case(tmp_path, "a"), tmp_path / "out"
    (out / "volumes").mkdir(parents=True)
    left = [out / ".unfinished-0-report.html", out / "volumes" / ".unfinished-1-a.nii.gz"]
    for path in left:
        path.write_bytes(b"half")
    quick([case], out).run()
    assert not any(path.exists() for path in left)


def test_a_failed_case_is_not_tried_again_until_its_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = write_case(tmp_path, "good"), write_case(tmp_path, "bad")
    whole = Path(bad["image"]).read_bytes()
    Path(bad["image"]).write_bytes(whole[:200])
    counted = Counted(monkeypatch)
    for _ in range(2):
        with pytest.raises(FailedCasesError, match="1 of 2 cases failed: bad"):
            quick([good, bad], tmp_path / "out").run()
    assert {case for case, _ in counted.since()} == {"good"}
    Path(bad["image"]).write_bytes(whole)
    assert quick([good, bad], tmp_path / "out").run()["failures"] == []


def test_out_of_memory_is_named_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = write_case(tmp_path, "a")

    def exhausted(*args: Any) -> Any:
        torch.empty(1 << 60)  # a real allocation that fails
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr("monai_smia.evaluation.row.attacked", exhausted)
        with pytest.raises(FailedCasesError):
            quick([case], tmp_path / "out").run()
    (failure,) = json.loads((tmp_path / "out" / "summary.json").read_text())["failures"]
    assert failure["kind"] == "out of memory"
    assert quick([case], tmp_path / "out").run()["failures"] == []


class FullDisk(NiftiStorage):
    def write(self, *args: Any, **options: Any) -> Path:
        if not Path("/dev/full").exists():
            pytest.skip("needs /dev/full")
        with open("/dev/full", "wb", buffering=0) as device:
            device.write(b"volume")
        raise AssertionError


def test_a_full_disk_ends_the_run_and_loses_nothing(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    with pytest.raises(DiskFullError, match="make room and run the same command again"):
        quick([case], tmp_path / "out", storage=FullDisk(tmp_path / "volumes")).run()
    (line,) = (tmp_path / "out" / "journal" / "rank0.jsonl").read_text().splitlines()
    assert json.loads(line)["key"] == "clean"


def test_nine_of_twelve(tmp_path: Path) -> None:
    """One corrupt file, one NaN volume, one wrong-shaped label: nine results, three named failures."""
    cases = [write_case(tmp_path, f"c{i:02d}") for i in range(12)]
    Path(cases[3]["image"]).write_bytes(Path(cases[3]["image"]).read_bytes()[:150])
    nib.save(nib.Nifti1Image(np.full((14, 14, 8), np.nan, np.float32), np.diag([-2.0, -2, 2, 1])), cases[6]["image"])
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.eye(4)), cases[9]["label"])
    with pytest.raises(FailedCasesError, match="3 of 12"):
        quick(cases, tmp_path / "out").run()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {failure["case"]: failure["kind"] for failure in summary["failures"]} == {
        "c03": "unreadable file",
        "c06": "invalid case",
        "c09": "invalid case",
    }
    assert {row["cases"] for row in summary["rows"]} == {9}
    assert summary["evaluated"] == 9
    assert "9 of 12 cases" in (tmp_path / "out" / "report.html").read_text()


def test_names_must_be_unique(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    with pytest.raises(ValueError, match=r"cases must have unique names.*'a'"):
        quick([case, case], tmp_path)
    with pytest.raises(ValueError, match=r"attacks must have unique names.*clean"):
        quick([case], tmp_path, attacks=[PlannedAttack(), PlannedAttack()])


def test_loading_takes_the_whole_item(tmp_path: Path) -> None:
    case = {**write_case(tmp_path, "a"), "patient": "p1"}
    quick([case], tmp_path / "out", loading=LOAD).run()
    record = json.loads((tmp_path / "out" / "records.jsonl").read_text().splitlines()[0])
    assert record["patient"] == "p1"
