"""Products that are commands: figures as in process, wrong answers refused by name, kills that lose nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from product_helpers import InProcess, cases, command

from monai_smia.adapters.product import AnswerError, Asking, Command, CommandVictim, QueryLimitError, product_evaluation
from monai_smia.attacks import DecisionSearch
from monai_smia.cli import main
from monai_smia.evaluation.errors import FailedCasesError

QUERIES = 6
VARY = ("seconds", "config_sha256", "versions", "input_sha256")


def records(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in VARY} for line in lines]


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "product" / "queries.jsonl").read_text().splitlines()]


def evaluation(product: Any, folder: Path, images: Path, labels: Path, **options: Any) -> Any:
    shared = {"eps": 60.0, "queries": QUERIES, "figures": False, "progress": False, "write_volumes": "all"}
    return product_evaluation(product, images=images, labels=labels, output_dir=folder, **{**shared, **options})


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a test by command line, and its data."""
    folder = tmp_path_factory.mktemp("blackbox")
    images, labels = cases(folder)
    line = " ".join(command(folder / "script"))
    options = ["--eps", "60", "--queries", str(QUERIES), "--write_volumes", "all", "--name", "Lung 2.0"]
    before, hook = os.getcwd(), sys.excepthook
    try:
        assert main(["blackbox", "--command", line, "--images", str(images), "--labels", str(labels)]
                    + ["--output_dir", str(folder / "out"), *options]) == 0  # fmt: skip
    finally:
        sys.excepthook = hook
        os.chdir(before)
    return folder / "out", folder


def test_figures_are_those_in_process_to_the_last_digit(tested: tuple[Path, Path], tmp_path: Path) -> None:
    out, folder = tested
    evaluation(InProcess(), tmp_path / "here", folder / "images", folder / "labels").run()
    ours, theirs = records(out), records(tmp_path / "here")
    assert len(ours) == 7
    assert ours == theirs
    worst = min(record["jaccard"] for record in ours if record["attack"] == "DecisionSearch")
    assert worst < next(record["jaccard"] for record in ours if record["attack"] == "Noise")
    for name in ("Noise", "Square", "DecisionSearch"):  # what was asked is what can be stored
        computed, stored = ([r for r in ours if (r["attack"], r["stage"]) == (name, s)] for s in ("computed", "stored"))
        assert computed[0]["jaccard"] == stored[0]["jaccard"]
        assert computed[0]["linf"] == stored[0]["linf"] == 60


def test_every_query_is_counted_and_the_page_says_what_was_known(tested: tuple[Path, Path]) -> None:
    out, _ = tested
    queries = {r["attack"]: r["queries"] for r in records(out) if "queries" in r}
    assert queries == {"Square": QUERIES + 1, "DecisionSearch": QUERIES + 1}
    lines = journal(out)
    asked = [line["asked"] for line in lines if "asked" in line]
    assert len(asked) == len(set(asked)) + 1  # the clean image twice, to see whether answers repeat
    assert [line["came"] for line in lines if "came" in line] == ["answered"] * len(asked)
    assert not (out / "product" / "scratch").exists() or not list((out / "product" / "scratch").iterdir())
    page = (out / "report.html").read_text()
    for text in ("black box: query access alone (NIST AI 100-2), decision-based", "voxel for voxel", "Lung 2.0"):
        assert text in page


def test_run_again_it_is_asked_once_whether_it_is_the_same_product(tmp_path: Path) -> None:
    """A threshold that is moved, as by an update, is told before its answers are mixed with others."""
    images, labels = cases(tmp_path)
    product = InProcess()
    evaluation(product, tmp_path / "out", images, labels, only=["Noise"]).run()
    asked = len(journal(tmp_path / "out"))
    evaluation(product, tmp_path / "out", images, labels, only=["Noise"]).run()
    assert len(journal(tmp_path / "out")) == asked + 2  # the lines of one query
    with pytest.raises(AnswerError, match="answers otherwise than in the run that is gone on with"):
        evaluation(InProcess(-700), tmp_path / "out", images, labels, only=["Noise"])
    evaluation(product, tmp_path / "out", images, labels, only=["Noise"], resume=False).run()
    assert len(journal(tmp_path / "out")) > asked + 2 + asked  # all anew


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("status", "ended with status 1. It said: no licence"),
        ("nothing", "said that all was well and wrote no answer"),
        ("empty", "cannot be read: answer.nii.gz is empty"),
        ("half", "cannot be read: answer.nii.gz is damaged"),
        ("half_plain", "answer.nii cannot be read"),
        ("shape", r"on the grid of what was asked, \(12, 10, 8\), got \(11, 10, 8\)"),
        ("affine", "has another affine"),
        ("fractions", "must hold whole numbers"),
        ("classes", "classes from 0 to 1, got 0 to 7"),
        ("yesterday", "written before it was asked for"),
        ("two", "must write one answer, got 2"),
        ("slow", "took longer than 3 s"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(how: str, reason: str, tmp_path: Path) -> None:
    images, _ = cases(tmp_path)
    asking = Asking(Command(command(tmp_path, how), timeout=3.0 if how == "slow" else 60.0), 2, tmp_path / "asked")
    source = asking.open(images / "case0.nii.gz", "case0")
    with pytest.raises(AnswerError, match=reason):
        asking.answer(source.before)
    assert not list((tmp_path / "asked" / "scratch").iterdir())
    assert not (tmp_path / "asked" / "answers").exists()
    lines = (tmp_path / "asked" / "queries.jsonl").read_text().splitlines()
    assert re.search("refused: the (command|answer|product)", lines[1])


def test_a_refused_answer_is_a_failure_of_its_case_and_no_figure(tmp_path: Path) -> None:
    images, labels = cases(tmp_path, 2)
    product = _Wrong(images / "case1.nii.gz")
    with pytest.raises(FailedCasesError, match=r"case1: .*same reason"):
        evaluation(product, tmp_path / "out", images, labels, repeats=1).run()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["cases"], summary["evaluated"]) == (2, 1)
    assert {r["case"] for r in records(tmp_path / "out") if r["status"] == "ok"} == {"case0"}


class _Wrong(InProcess):
    """Has no answer for the second case."""

    def __init__(self, second: Path) -> None:
        super().__init__()
        self.second = second

    def ask(self, query: Any, folder: Path, classes: int) -> np.ndarray:
        asked, second = (nib.load(path).get_fdata() for path in (query.path, self.second))  # type: ignore[attr-defined]
        if np.abs(asked - second).max() <= 60:
            raise AnswerError("always the same reason")
        return super().ask(query, folder, classes)


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_loses_a_query_at_most(tmp_path: Path) -> None:
    images, labels = cases(tmp_path)
    line = [sys.executable, "-m", "monai_smia", "blackbox", "--command", " ".join(command(tmp_path / "script"))]
    line += ["--images", str(images), "--labels", str(labels), "--output_dir", str(tmp_path / "out"), "--eps", "60"]
    line += ["--queries", str(QUERIES)]
    log = tmp_path / "out" / "product" / "queries.jsonl"
    for count in (3, 9):  # events of the journal: in the middle of a query
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        until = time.time() + 200
        while time.time() < until and not (log.is_file() and len(log.read_text().splitlines()) >= count):
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(line, check=True, capture_output=True)
    evaluation(InProcess(), tmp_path / "here", images, labels).run()
    assert records(tmp_path / "out") == records(tmp_path / "here")
    asked = [entry["asked"] for entry in journal(tmp_path / "out") if "asked" in entry]
    assert len(asked) - len(set(asked)) <= 1 + 2 + 2  # the repeated one, with every start, and one for each kill
    assert not list((tmp_path / "out" / "product").rglob("query_0000.nii.gz"))


def test_a_radius_below_one_stored_unit_is_refused(tmp_path: Path) -> None:
    """Nothing would be asked but the clean image, and the product would look robust."""
    images, labels = cases(tmp_path)
    with pytest.raises(
        FailedCasesError, match=r"eps must be at least one stored unit, 1, or nothing is asked; got 0\.4"
    ):
        evaluation(InProcess(), tmp_path / "out", images, labels, eps=[0.4, 60.0], repeats=1).run()
    evaluation(InProcess(), tmp_path / "one", images, labels, eps=1.0, only=["Noise"], repeats=1).run()
    assert {r["linf"] for r in records(tmp_path / "one") if r["attack"] == "Noise"} == {1.0}
    values = nib.load(images / "case0.nii.gz")  # type: ignore[attr-defined]
    nib.save(nib.Nifti1Image(values.get_fdata(dtype=np.float32), values.affine), images / "case0.nii.gz")
    evaluation(InProcess(), tmp_path / "float", images, labels, eps=0.4, only=["Noise"], repeats=1).run()
    (row,) = (r for r in records(tmp_path / "float") if (r["attack"], r["stage"]) == ("Noise", "computed"))
    assert row["linf"] == pytest.approx(0.4, abs=1e-3)


def test_the_limit_on_queries_holds(tmp_path: Path) -> None:
    images, _ = cases(tmp_path)
    asking = Asking(InProcess(), 2, tmp_path / "asked", most=2)
    source = asking.open(images / "case0.nii.gz")
    for change in (0, 1):
        asking.answer(source.before + np.int16(change))
    asking.answer(source.before)  # asked before
    with pytest.raises(QueryLimitError, match="limit of 2 queries"):
        asking.answer(source.before + np.int16(2))
    assert asking.asked == 2


def test_several_are_asked_at_once_and_each_is_counted_once(tmp_path: Path) -> None:
    """Four queries of which each waits for the other three, under a limit of five."""
    images, _ = cases(tmp_path)
    together = threading.Barrier(4, timeout=60)

    class Waiting(InProcess):
        def ask(self, query: Any, folder: Path, classes: int) -> np.ndarray:
            together.wait()
            return super().ask(query, folder, classes)

    asking = Asking(Waiting(), 2, tmp_path / "asked", most=5, jobs=4)
    source = asking.open(images / "case0.nii.gz")
    wanted = [source.before + np.int16(30 * n) for n in range(4)]
    found = asking.answers(wanted)
    values = nib.load(images / "case0.nii.gz").get_fdata()  # type: ignore[attr-defined]
    for n, answer in enumerate(found):
        assert np.array_equal(answer, values + 30 * n < -620)
    lines = [json.loads(line) for line in (tmp_path / "asked" / "queries.jsonl").read_text().splitlines()]
    assert sorted(line["query"] for line in lines if "asked" in line) == [1, 2, 3, 4]
    assert sorted(line["query"] for line in lines if line.get("came") == "answered") == [1, 2, 3, 4]
    over = Asking(InProcess(), 2, tmp_path / "asked", most=5, jobs=4)
    source = over.open(images / "case0.nii.gz")
    with pytest.raises(QueryLimitError, match="limit of 5 queries"):
        over.answers([source.before + np.int16(200 + n) for n in range(4)])
    assert asking.asked == 5


def test_a_command_is_a_victim_of_any_black_box_attack(tmp_path: Path) -> None:
    images, labels = cases(tmp_path)
    victim = CommandVictim(list(command(tmp_path)), classes=2)
    victim.open(images / "case0.nii.gz")
    image, label = (torch.from_numpy(nib.load(folder / "case0.nii.gz").get_fdata()[None, None]).float() for folder in (images, labels))  # type: ignore[attr-defined]  # fmt: skip  # noqa: E501
    result = DecisionSearch(eps=100.0, queries=2, clip=None)(victim, image, label.long())
    assert float(result.damage) > float(result.clean_damage)
    assert victim.asking.asked == 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["segment", "{input}"], "must have {output} or {output_folder}"),
        (["segment", "{output}"], "must have {input} or {input_folder}"),
        ("segment {input} {output}", "must be a list of arguments"),
        ([], "must have {input}"),
        (["segment", "{input}", "{output}", "|", "tee"], "has '|' in it, and no shell runs it"),
    ],
)
def test_commands_that_cannot_work_are_refused(arguments: Any, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        Command(arguments)
    with pytest.raises(ValueError, match="timeout must be a number of seconds > 0"):
        Command(("a", "{input}", "{output}"), timeout=0)


def test_mistakes_on_the_command_line_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, _ = cases(tmp_path)
    line = " ".join(command(tmp_path))
    hook = sys.excepthook
    (tmp_path / "a.csv").write_text("image,label\ncase0,1\n")
    for options, text in (
        (["--images", str(tmp_path / "no")], "does not exist: images are"),
        (["--images", str(images), "--labels", str(tmp_path / "no")], "does not exist: labels are"),
        (["--images", str(images), "--preset", "standard"], "preset must be one of"),
        (["--images", str(images), "--eps", "-1"], "eps must be"),
        (["--images", str(images), "--attacks", "PGD"], "only must name attacks of"),
        (["--images", str(images), "--queries", "0"], "queries must be a whole number >= 1"),
        (["--images", str(images), "--labels", str(tmp_path / "a.csv")], "a.csv is a table of classes, and labels are"),
        (["--images", str(images), "--classes", "1"], "classes must be a whole number >= 2"),
    ):
        assert main(["blackbox", "--command", line, "--output_dir", str(tmp_path / "out"), *options]) == 1
        assert text in capsys.readouterr().err
    unclosed = ["blackbox", "--command", "a '{input} {output}", "--images", str(images)]
    assert main([*unclosed, "--output_dir", str(tmp_path / "out")]) == 1
    assert "command cannot be taken apart: No closing quotation" in capsys.readouterr().err
    assert main(["blackbox", "--command", "no-such-program {input} {output}", "--images", str(images)]
                + ["--output_dir", str(tmp_path / "out")]) == 1  # fmt: skip
    assert "command 'no-such-program' cannot be run" in capsys.readouterr().err
    sys.excepthook = hook
