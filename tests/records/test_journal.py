from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from record_helpers import record

from monai_smia.records import Failure, RecordVersionError
from monai_smia.records.journal import Journal, JournalLine, current, next_run, read_journals


def line(case: str, key: str, run: int, source: str = "x") -> JournalLine:
    outcomes = [record(case=case, jaccard=run / 2)]
    return JournalLine(case, key, run, source, outcomes, attack="4f", stat=[[1, 2, 3]], time=-float(run))


def test_a_line_is_on_disk_before_the_next(tmp_path: Path) -> None:
    with Journal(tmp_path / "rank0.jsonl") as journal:
        journal.add(line("a", "bim", 1))
        (found,) = json.loads((tmp_path / "rank0.jsonl").read_text())["records"]
        assert (found["jaccard"], found["version"]) == (0.5, 2)
    assert read_journals(tmp_path) == [line("a", "bim", 1)]


def test_a_line_torn_anywhere_does_not_count_and_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "rank0.jsonl"
    with Journal(path) as journal:
        journal.add(JournalLine("a", "bim", 1, "x", []))
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole + whole[:cut])
        with Journal(path) as journal:
            journal.add(JournalLine("b", "bim", 2, "x", []))
        cases = [found.case for found in read_journals(tmp_path)]
        assert cases in (["a", "b"], ["a", "a", "b"])  # the latter where nothing but the newline was cut off
        assert cases == ["a", "b"] or cut == len(whole) - 1


def test_processes_files_are_merged_and_the_newest_line_of_a_key_counts(tmp_path: Path) -> None:
    for rank, lines in enumerate(([line("a", "bim", 1), line("a", "pgd", 4)], [line("a", "bim", 3)])):
        with Journal(tmp_path / f"rank{rank}.jsonl") as journal:
            for one in lines:
                journal.add(one)
    merged = current(read_journals(tmp_path))
    assert {key: found.run for key, found in merged["a"].items()} == {"bim": 3, "pgd": 4}


def test_within_a_run_the_later_line_of_a_file_counts_whatever_the_clock_said(tmp_path: Path) -> None:
    with Journal(tmp_path / "rank0.jsonl") as journal:
        for time, jaccard in ((9.0, 0.1), (2.0, 0.7)):
            journal.add(JournalLine("a", "bim", 1, "x", [record(jaccard=jaccard)], time=time))
    (found,) = current(read_journals(tmp_path))["a"]["bim"].records
    assert found.number("jaccard") == 0.7
    assert next_run(read_journals(tmp_path)) == 2
    assert next_run([]) == 1


def test_no_flipped_bit_changes_a_figure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """200 drawn flips over a journal of 12 lines: each costs the one or two lines that it hits, by name."""
    path = tmp_path / "rank0.jsonl"
    with Journal(path) as journal:
        for number in range(12):
            journal.add(line(f"case{number}", "bim", 1 + number % 3))
    whole, before = path.read_bytes(), read_journals(tmp_path)
    draw = random.Random(0)
    for bit in draw.sample(range(8 * len(whole)), 200):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        caplog.clear()
        after = read_journals(tmp_path)
        assert all(found in before for found in after)
        at_the_end = bit // 8 == len(whole) - 1  # the last newline
        assert len(after) >= len(before) - 2
        if len(after) < len(before):
            number = 1 + whole[: bit // 8].count(b"\n")
            assert f"rank0.jsonl, line {number} is torn or damaged: what it held is done again." in caplog.text
        else:
            assert at_the_end


def test_lines_of_an_older_input_do_not_count() -> None:
    lines = [line("a", "bim", 1, "old"), line("a", "pgd", 2, "new"), line("b", "bim", 3, "old")]
    assert {case: list(keys) for case, keys in current(lines).items()} == {"a": ["pgd"], "b": ["bim"]}


def test_a_failure_is_a_line() -> None:
    failed = JournalLine("a", "failure", 1, "x", [Failure("a", "unreadable file", "OSError: gone")])
    again = JournalLine.from_json(json.loads(json.dumps(failed.to_json())))
    assert again == failed
    assert again.failure is not None
    assert (again.records, line("a", "bim", 1).failure) == ([], None)


def test_a_journal_of_version_0_1_is_refused_with_what_to_do(tmp_path: Path) -> None:
    old = {"case": "a", "key": "bim", "time": 1.0, "input": "x", "stat": [], "attack": "4f", "records": []}
    (tmp_path / "rank0.jsonl").write_text(json.dumps(old) + "\n")
    with pytest.raises(RecordVersionError, match=r"of monai_smia 0\.1\.0.*another output_dir.*resume=False"):
        read_journals(tmp_path)


def test_a_full_disk_is_an_error() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    journal = Journal.__new__(Journal)
    journal._file, journal._path = full.open("wb", buffering=0), full
    with pytest.raises(OSError, match="space"):
        journal.add(line("a", "bim", 0))
