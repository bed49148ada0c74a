"""What a person sees of an evaluation: the plan, one line of progress with the time left, the outcome."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import Any

import pytest
from evaluation.test_resume import CLIP, plan, quick
from evaluation.test_runner import write_case

from monai_smia.attacks import PGD, Noise, Square
from monai_smia.evaluation import PlannedAttack
from monai_smia.evaluation.console import console
from monai_smia.evaluation.errors import FailedCasesError
from monai_smia.evaluation.line import ProgressLine
from monai_smia.evaluation.pace import Pace
from monai_smia.report.figures import segmentation_figure

SHORT = PlannedAttack(Noise(eps=0.1, progress=False), 0.1, "x")
LONG = PlannedAttack(PGD(eps=0.1, steps=99, progress=False), 0.1, "x")
QUERIES = PlannedAttack(Square(eps=0.1, queries=199, progress=False), 0.1, "x")


def pace(**options: Any) -> Pace:
    found = Pace(**options)
    found.gradient, found.prediction = 2.0, 1.0
    return found


def test_work_is_gradients_predictions_and_what_is_scored() -> None:
    assert [pace().work(row) for row in (PlannedAttack(), SHORT, LONG, QUERIES)] == [1, 2, 200, 201]
    stored = pace(stored=True)
    assert [stored.work(row) for row in (PlannedAttack(), SHORT, LONG)] == [1, 3, 201]
    assert pace(stored=True, degradations=2).work(LONG) == 3 * 199 + 6


def test_time_left_is_of_what_is_left_and_not_of_the_mean_row() -> None:
    """A short row first: the long one is not thought to be as short."""
    found = pace()
    rows = {SHORT: 1, LONG: 2}
    assert found.left(rows) == 2 + 2 * 200
    found.note(SHORT, 10.0)  # five times its work, and hardly any of all of it
    assert found.left({LONG: 2}) == pytest.approx(400 * (200 + 10) / (200 + 2))
    found.note(LONG, 300.0)
    assert found.left({LONG: 1}) == 300.0


def test_what_an_earlier_run_took_is_known_at_once_and_counts_less() -> None:
    found = Pace()
    found.remember(LONG.slug, 60.0)
    found.remember(LONG.slug, 80.0)
    assert found.left({LONG: 2}) == 140.0
    found.note(LONG, 20.0)
    assert found.left({LONG: 2}) == 40.0


def named(text: str) -> list[str]:
    """The states of the line; one that comes before the first row names none."""
    return [line for line in re.split(r"[\r\n]+", text) if "rows" in line and not line.startswith(" ")]


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return named(capsys.readouterr().err)


def test_the_line_names_case_row_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine(pace(), show=True) as line:
        line.resume([], [SHORT, LONG, LONG])
        line.begin("case1", SHORT)
        line.end()
        line.begin("a_case_with_a_name_that_leaves_no_room_for_anything_else", LONG)
        time.sleep(0.6)
        line.tick()
        line.drop([LONG])
    first, second, third, last = (lines := shown(capsys))[0], lines[1], lines[2], lines[-1]
    assert re.search(r"^case1, Noise x: +0%\|.*\| 0/3 rows, 06:42 left", first)
    assert re.search(r"\| 1/3 rows, 06:\d\d left", second)
    assert third.startswith("a_case_with_a_name_that_leaves_no_room_for_an...: ")
    assert re.search(r"\| 1/1 rows", last)  # what is not to be done is no row
    assert all(len(line) < 140 for line in lines)


def test_a_run_shows_one_line_and_after_a_resume_what_was_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [write_case(tmp_path, name) for name in "ab"]
    attacks = [*plan(), PlannedAttack(PGD(eps=70.0, steps=2, clip=CLIP, progress=True), 0.05, "x")]
    quick(cases[:1], tmp_path / "out", attacks=attacks, progress=True).run()
    lines = shown(capsys)
    assert re.search(r"^a, Clean: +0%\|.*\| 0/5 rows", lines[0])
    assert re.search(r"100%\|.*\| 5/5 rows *$", lines[-1])
    quick(cases, tmp_path / "out", attacks=attacks, progress=True).run()
    captured = capsys.readouterr()
    lines = named(captured.err)
    assert re.search(r"^b, Clean: +50%\|.*\| 5/10 rows, \d\d:\d\d left", lines[0]) or "left" not in lines[0]
    assert re.search(r"100%\|.*\| 10/10 rows *$", lines[-1])
    assert "PGD: " not in captured.err  # no bar of an attack's own
    assert "2 cases x 5 rows (5 of 10 done before), at most: 7 gradients a case at " in captured.out


def test_before_and_after(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [write_case(tmp_path, name) for name in "abc"]
    Path(cases[2]["image"]).write_bytes(b"no volume")
    with pytest.raises(FailedCasesError):
        quick(cases, tmp_path / "out", progress=True, figure=segmentation_figure, figures=1).run()
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"3 cases x 4 rows, at most: 5 gradients a case at \S+ s, \d+ (milli)?seconds?, \d+(\.\d)? [kM]B\.", lines[0]
    )
    assert lines[1] == (
        "Kept: records, report, pictures of 3 cases, adversarial images of the worst case of each attack "
        "(--write_volumes worst, all or none)."
    )
    assert lines[2].startswith("Mean jaccard: 0.")
    assert all(len(line) <= 100 for line in lines[2:-2])
    table = next(number for number, line in enumerate(lines) if line.startswith("attack at 70 HU"))
    assert [line.split()[0] for line in lines[table + 1 : table + 3]] == ["Clean", "Noise"]
    assert lines[-2] == f"Report: {tmp_path / 'out' / 'report.html'}"
    assert lines[-1].startswith("Images: ")
    used = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.suffix in (".gz", ".png"))
    said = re.search(r"([\d.]+) ([kM])B\.$", lines[0])
    assert said is not None
    assert used <= float(said[1]) * {"k": 1e3, "M": 1e6}[said[2]]


def test_rows_of_later_rounds_count_for_cases_whose_first_round_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [write_case(tmp_path, name) for name in "ab"]
    options: dict[str, Any] = {"eps": 70.0, "clip": CLIP, "progress": False}
    rounds = [PlannedAttack(PGD(steps=i, **options), 0.05, f"round {i}") for i in (1, 2)]
    quick(cases[:1], tmp_path / "out", attacks=[PlannedAttack(), rounds[0]]).run()
    quick(cases, tmp_path / "out", attacks=[PlannedAttack(), *rounds], progress=True).run()
    lines = shown(capsys)
    assert re.search(r"^b, Clean: .*\| 2/6 rows", lines[0])
    assert re.search(r"\| 6/6 rows", lines[-1])


def test_engines_of_rows_say_nothing_between_the_lines(caplog: pytest.LogCaptureFixture) -> None:
    """MONAI's logging.conf shows what Ignite tells, three lines for every row; of a training it is wanted."""
    engine = logging.getLogger("ignite.engine.engine.AttackEvaluator")
    with caplog.at_level(logging.INFO):
        with console():
            engine.info("Engine run finished.")
            engine.warning("trouble")
        engine.info("after")
    assert [record.message for record in caplog.records if record.name == engine.name] == ["trouble", "after"]
