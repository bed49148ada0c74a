"""Records on disk: append-only JSON Lines, one file per process, merged by key.

JSON Lines and not SQLite: every process appends to a file of its own, so that nothing is ever locked on a shared file
system; a line is on disk (fsync) before the next case begins; a kill can tear the last line and nothing else, and a
torn line does not count. One line holds all records of a (case, attack): it is there, or it is to be done again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

Line = dict[str, Any]


class Journal:
    """The file that one process appends to.

    Args:
        path: the file; made with its folder if it does not exist.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with Journal(folder / "rank0.jsonl") as journal:
        ...     journal.add({"case": "a", "key": "a|BIM", "time": 0.0, "records": [{"jaccard": 0.9}]})
        >>> read_journals(folder)[0]["records"]
        [{'jaccard': 0.9}]
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = path.exists() and path.stat().st_size > 0 and not _ends_with_newline(path)
        self._file = path.open("ab", buffering=0)
        if torn:  # close the torn line, so that the next one is whole
            self._write(b"\n")

    def add(self, line: Mapping[str, Any]) -> None:
        """Append one line; it is on disk when this returns."""
        self._write(json.dumps(line, allow_nan=False).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        while data:  # a raw file may take less than it is given
            data = data[self._file.write(data) :]
        os.fsync(self._file.fileno())

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def read_journals(folder: Path) -> list[Line]:
    """Every whole line of every process's file, oldest first."""
    lines = []
    for path in sorted(folder.glob("*.jsonl")):
        for text in path.read_bytes().split(b"\n"):
            try:
                line = json.loads(text)
            except ValueError:  # torn by a kill; what it held is done again
                continue
            if isinstance(line, dict):
                lines.append(line)
    return sorted(lines, key=lambda line: line["time"])


def current(lines: Sequence[Line]) -> dict[str, dict[str, Line]]:
    """The lines that count, by case and key: those of a case's newest input, and of them the newest of every key.

    Example:
        >>> old, new = ({"case": "a", "key": "a|BIM", "input": i, "time": float(t)} for t, i in enumerate("xy"))
        >>> current([old, new])["a"]["a|BIM"]["input"]
        'y'
    """
    cases: dict[str, dict[str, Line]] = {}
    newest: dict[str, str] = {}
    for line in lines:
        case, source = line["case"], line["input"]
        if newest.get(case) != source:
            newest[case] = source
            cases[case] = {}
        cases[case].pop(line["key"], None)  # so that the newest is the last
        cases[case][line["key"]] = line
    return cases


def replace_file(path: Path, text: str) -> None:
    """Write a file that is complete or not there."""
    partial = path.with_name(f".{path.name}")
    with partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
