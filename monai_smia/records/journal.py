"""Records on disk: append-only JSON Lines, one file per process, merged by key.

JSON Lines and not SQLite: every process appends to a file of its own, so that nothing is ever locked on a shared file
system; a line is on disk (fsync) before the next case begins; a kill can tear the last line and nothing else. One line
holds all records of a (case, attack): it is there, or it is to be done again. It ends with a checksum of its bytes: a
torn or damaged line does not count. Which line is the newest say the number of its run and its place in the file; no
clock does.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from monai_smia.files import writing
from monai_smia.records.parts import RECORD_VERSION, check_version
from monai_smia.records.record import Failure, Outcome, Record, outcome_from_json

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class JournalLine:
    """All outcomes of one (case, row), or the failure of a case.

    Args:
        case: name of the case.
        key: slug of the row, or `monai_smia.records.record.FAILURE`.
        run: number of the run that did it; a later run has a higher one.
        input: hash of the case's files.
        outcomes: one record per stage, or one failure.
        attack: hash of the attack; None for a case that could not be loaded.
        stat: size and times of change of the case's files.
        time: by the clock, in seconds; nothing hangs on it.

    Example:
        >>> from monai_smia.records.record import Failure
        >>> line = JournalLine("a", "failure", 1, "3f", [Failure("a", "error", "ValueError: ...")])
        >>> JournalLine.from_json(line.to_json()) == line
        True
    """

    case: str
    key: str
    run: int
    input: str
    outcomes: list[Outcome]
    attack: str | None = None
    stat: list[list[int]] = field(default_factory=list)
    time: float = 0.0

    @property
    def failure(self) -> Failure | None:
        """The failure, where it is one."""
        return next((outcome for outcome in self.outcomes if isinstance(outcome, Failure)), None)

    @property
    def records(self) -> list[Record]:
        """The records, where it is no failure."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, Record)]

    def to_json(self) -> dict[str, Any]:
        """As in the file."""
        own = {name: getattr(self, name) for name in _OWN}
        return {"version": RECORD_VERSION, **own, "records": [outcome.to_json() for outcome in self.outcomes]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> JournalLine:
        """From a line of the file.

        Raises:
            RecordVersionError: if another version has written it.
        """
        check_version(data, "a line of the journal")
        return cls(**{name: data[name] for name in _OWN}, outcomes=[outcome_from_json(r) for r in data["records"]])


_OWN = ("case", "key", "run", "input", "stat", "attack", "time")


class Journal:
    """The file that one process appends to; what it cannot write is a `monai_smia.files.WriteError`.

    Args:
        path: the file; made with its folder if it does not exist.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with Journal(folder / "rank0.jsonl") as journal:
        ...     journal.add(JournalLine("a", "bim", 1, "3f", []))
        >>> read_journals(folder)[0].key
        'bim'
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            torn = path.exists() and path.stat().st_size > 0 and not _ends_with_newline(path)
            self._file = path.open("ab", buffering=0)
        if torn:  # close the torn line, so that the next one is whole
            self._write(b"\n")

    def add(self, line: JournalLine) -> None:
        """Append one line; it is on disk when this returns."""
        self._write(_with_checksum(json.dumps(line.to_json(), allow_nan=False).encode()) + b"\n")

    def _write(self, data: bytes) -> None:
        with writing(self._path):
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


@dataclass
class JournalReader:
    """The files of all processes, of which each line is parsed once: a later `read` parses what was added since.

    Args:
        folder: of the files, which grow and are not changed while this is used.

    Example:
        >>> import tempfile
        >>> reader = JournalReader(Path(tempfile.mkdtemp()))
        >>> with Journal(reader.folder / "rank0.jsonl") as journal:
        ...     journal.add(JournalLine("a", "bim", 1, "3f", []))
        ...     first = reader.read()
        ...     journal.add(JournalLine("a", "pgd", 1, "3f", []))
        >>> [line.key for line in reader.read()], reader.read()[0] is first[0]
        (['bim', 'pgd'], True)
    """

    folder: Path
    _files: dict[Path, _Parsed] = field(init=False, default_factory=dict)

    def read(self) -> list[JournalLine]:
        """Every whole line of every process's file, those of the oldest run first.

        A line that is torn or damaged does not count, and what it held is done again; it is named in the log.

        Raises:
            RecordVersionError: if another version has written one of them.
        """
        paths = sorted(self.folder.glob("*.jsonl"))
        lines = [line for path in paths for line in self._files.setdefault(path, _Parsed(path)).update()]
        return sorted(lines, key=lambda line: line.run)  # stable: within a run a case is of one file, in its order


@dataclass
class _Parsed:
    """What is known of a file: its lines up to `end`, where a line ends."""

    path: Path
    end: int = 0
    number: int = 0
    lines: list[JournalLine] = field(default_factory=list)

    def update(self) -> list[JournalLine]:
        """The lines of the file as it is now."""
        with self.path.open("rb") as file:
            file.seek(self.end)
            *whole, torn = file.read().split(b"\n")
        added = [self._read(text, number) for number, text in enumerate(whole, self.number + 1)]
        self.lines += [line for line in added if line is not None]
        self.number += len(whole)
        self.end += sum(len(text) + 1 for text in whole)
        last = self._read(torn, self.number + 1)  # read again next time: it may be on its way
        return self.lines if last is None else [*self.lines, last]

    def _read(self, text: bytes, number: int) -> JournalLine | None:
        line = _read(text) if text else None
        if text and line is None:
            LOGGER.warning("%s, line %d is torn or damaged: what it held is done again.", self.path, number)
        return line


def read_journals(folder: Path) -> list[JournalLine]:
    """Every whole line of every process's file, once: `JournalReader.read`."""
    return JournalReader(folder).read()


def next_run(lines: Sequence[JournalLine]) -> int:
    """The number of a run that begins beside these lines."""
    return 1 + max((line.run for line in lines), default=0)


def _with_checksum(text: bytes) -> bytes:
    """A JSON object with the checksum of its bytes as its last entry."""
    return text[:-1] + CHECKSUM + hashlib.sha256(text).hexdigest()[:DIGITS].encode() + b'"}'


def _read(text: bytes) -> JournalLine | None:
    """A line; None where it is not what was written."""
    whole = text[:-TAIL] + b"}"
    if len(text) > TAIL and _with_checksum(whole) == text:
        return JournalLine.from_json(json.loads(whole))
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if isinstance(found, dict) and not {"checksum", "version"} & found.keys():
        JournalLine.from_json(found)  # of 0.1.0, which had neither: refused
    return None


CHECKSUM, DIGITS = b', "checksum": "', 16
TAIL = len(CHECKSUM) + DIGITS + len(b'"}')


def current(lines: Sequence[JournalLine]) -> dict[str, dict[str, JournalLine]]:
    """The lines that count, by case and key: those of a case's newest input, and of them the newest of every key.

    Args:
        lines: the oldest first, as `read_journals` gives them.

    Example:
        >>> old, new = (JournalLine("a", "bim", run=run, input=i, outcomes=[]) for run, i in enumerate("xy"))
        >>> current([old, new])["a"]["bim"].input
        'y'
    """
    cases: dict[str, dict[str, JournalLine]] = {}
    newest: dict[str, str] = {}
    for line in lines:
        if newest.get(line.case) != line.input:
            newest[line.case] = line.input
            cases[line.case] = {}
        cases[line.case].pop(line.key, None)  # so that the newest is the last
        cases[line.case][line.key] = line
    return cases
