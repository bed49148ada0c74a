"""Checksums of what an evaluation wrote, so that a report made anew is not made of damaged files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from monai_smia.files import write_text
from monai_smia.records.record import RECORDS_FILE
from monai_smia.records.spec import SPEC_FILE
from monai_smia.records.summary import SUMMARY_FILE

SEAL_FILE = "checksums.json"
SEALED = (SPEC_FILE, SUMMARY_FILE, RECORDS_FILE)


class DamagedRecordsError(ValueError):
    """A file of a finished evaluation is not what that wrote."""


def seal(folder: Path) -> None:
    """Write ``checksums.json``: SHA-256 of the files that a report is made of."""
    write_text(folder / SEAL_FILE, json.dumps({name: _sha256(folder / name) for name in SEALED}, indent=1))


def check_seal(folder: Path) -> None:
    """Raise where a file has changed since the evaluation wrote it.

    Raises:
        DamagedRecordsError: with its name; also where it is not known.
    """
    path = folder / SEAL_FILE
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        known = {}
    for name in SEALED:
        if not (folder / name).is_file() or known.get(name) != _sha256(folder / name):
            raise DamagedRecordsError(
                f"{name} of {str(folder)!r} is not what the evaluation wrote, by {SEAL_FILE}: run that again, which "
                "makes it anew of its journal."
            )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
