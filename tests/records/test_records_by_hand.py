"""Values of records at their edges, each by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from record_helpers import record

from monai_smia.records import COMPUTED, Record, RowKey, Summary
from monai_smia.records.damage import damages
from monai_smia.records.journal import Journal, JournalLine, _read, _with_checksum, read_journals
from monai_smia.records.seal import SEAL_FILE, SEALED, seal
from monai_smia.records.summary import AfterRound, AtRadius


@pytest.mark.parametrize(("clean", "wrong"), [(1.0, True), (1.5, True), (0.999, False), (0.0, False), (None, False)])
def test_what_was_wrong_when_clean_has_all_of_the_damage(clean: float | None, wrong: bool) -> None:
    assert record(clean_damage=clean).wrong_when_clean is wrong


@pytest.mark.parametrize(("linf", "unchanged"), [(0.0, True), (1e-9, False), (None, False)])
def test_an_image_without_a_change_is_unchanged(linf: float | None, unchanged: bool) -> None:
    assert record(linf=linf).unchanged is unchanged
    assert record(attack="Clean", linf=linf).unchanged is False


def test_damage_that_is_not_known() -> None:
    assert damages(float("nan"), 0.25) == {"damage": None, "clean_damage": 0.25, "added_damage": None}
    assert damages(0.5, float("inf")) == {"damage": 0.5, "clean_damage": None, "added_damage": None}
    assert damages(0.5) == {"damage": 0.5}


def test_a_line_that_is_a_checksum_alone_is_none() -> None:
    assert _read(_with_checksum(b"}")) is None
    assert _read(b"") is None


def test_a_journal_that_ends_whole_gets_no_empty_line(tmp_path: Path) -> None:
    for number in range(3):
        with Journal(tmp_path / "rank0.jsonl") as journal:
            journal.add(JournalLine(f"case{number}", "bim", 1, "x", []))
    assert (tmp_path / "rank0.jsonl").read_bytes().count(b"\n") == 3
    assert [line.case for line in read_journals(tmp_path)] == ["case0", "case1", "case2"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_never_journaled(value: float, tmp_path: Path) -> None:
    with Journal(tmp_path / "rank0.jsonl") as journal, pytest.raises(ValueError, match="JSON"):
        journal.add(JournalLine("a", "bim", 1, "x", [record(jaccard=value)]))
    assert read_journals(tmp_path) == []


@pytest.mark.parametrize(
    ("attacked", "moved"), [([], None), ([0.7], None), ([0.7, 0.6], 0.1), ([0.9, 0.7, 0.6], 0.1), ([0.7, None], None)]
)
def test_how_far_the_last_round_moved_the_figure(attacked: list[float | None], moved: float | None) -> None:
    rounds = [AfterRound(**dict.fromkeys(AfterRound.__dataclass_fields__) | {"attacked": a}) for a in attacked]
    found = AtRadius.moved.fget(SimpleNamespace(rounds=rounds))
    assert found == (None if moved is None else pytest.approx(moved))


def test_a_seal_holds_the_hash_of_every_file(tmp_path: Path) -> None:
    for name in SEALED:
        (tmp_path / name).write_text(name)
    seal(tmp_path)
    kept = json.loads((tmp_path / SEAL_FILE).read_text())
    assert kept == {name: hashlib.sha256(name.encode()).hexdigest() for name in SEALED}


def test_what_is_not_said_of_a_record_and_a_summary() -> None:
    record = Record(RowKey("BIM"), COMPUTED, "a")
    assert (record.patient, record.seed, record.below_quantization, record.history) == ("a", None, False, None)
    summary = Summary([])
    assert (summary.cases, summary.evaluated, summary.unit, summary.seconds, summary.headline) == (0, 0, "", 0.0, None)
