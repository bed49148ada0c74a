from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from monai_smia.files import UNFINISHED, remove_unfinished, replacing, write_text


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_on_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append("fsync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths)))
    write_text(tmp_path / "a.txt", "x")
    assert calls == ["fsync", "replace"]


def test_line_ends_are_left_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "\u00e4,b\r\n1,2\n")
    assert (tmp_path / "a.csv").read_bytes() == b"\xc3\xa4,b\r\n1,2\n"


def write_often(path: Path, letter: str) -> None:
    for _ in range(50):
        write_text(path, letter * 100_000)


def test_two_processes_that_write_the_same_file_do_not_mix_it(tmp_path: Path) -> None:
    path, context = tmp_path / "a.txt", multiprocessing.get_context("fork")
    writers = [context.Process(target=write_often, args=(path, letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            assert path.read_text() in ("a" * 100_000, "b" * 100_000)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert list(tmp_path.iterdir()) == [path]


def test_names_of_one_file_differ_and_keep_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        assert first.name.startswith(UNFINISHED)
        assert first.name.endswith("ct.nii.gz")
        first.write_text("1")
        second.write_text("2")
    assert path.read_text() == "1"  # the outer block ends last


def test_only_what_is_unfinished_is_removed(tmp_path: Path) -> None:
    write_text(tmp_path / "kept.txt", "x")
    write_text(tmp_path / "deep" / f"{UNFINISHED}1-figure.png", "half")
    remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "kept.txt"]
