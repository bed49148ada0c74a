"""Hashes of all that a record depends on: the configuration, the weights and the input files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_smia.evaluation.describe import describe, weights_hash
from monai_smia.evaluation.plain import canonical, sha256

__all__ = ["describe", "digest", "files_of", "input_hash", "input_stat", "weights_hash"]

CHUNK = 1 << 20
BESIDE = {".hdr": (".img",), ".img": (".hdr",), ".mhd": (".raw", ".zraw"), ".nhdr": (".raw", ".raw.gz")}  # of one image


def digest(value: Any) -> str:
    """SHA-256 of the `describe` of a value."""
    return sha256(canonical(describe(value)).encode())


def input_hash(item: Mapping[str, Any]) -> str:
    """SHA-256 over a case's files and whatever else its item says; a missing file counts as missing."""
    total = hashlib.sha256()
    for name in sorted(item):
        total.update(name.encode())
        files = files_of(item[name])
        if not files:
            total.update(canonical(describe(item[name])).encode())
        for file in files:
            total.update(file.name.encode())
            with file.open("rb") as stream:
                while block := stream.read(CHUNK):
                    total.update(block)
    return total.hexdigest()


def input_stat(item: Mapping[str, Any]) -> list[list[int]]:
    """Size and times of change of a case's files, and what else its item says: while they stand, its hash does, too.

    The second time is that of the file system, which a clock set back or a copied time of change does not deceive. What
    else there is, such as a label that is a number, is the start of a hash.
    """
    files = {name: files_of(item[name]) for name in sorted(item)}
    stats = [file.stat() for found in files.values() for file in found]
    said = digest({name: item[name] for name, found in files.items() if not found})
    return [*([stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for stat in stats), [int(said[:12], 16)]]


def named_files(value: Any) -> list[str]:
    """The paths that a value names, whether they exist or not."""
    parts = value if isinstance(value, (list, tuple)) else [value]
    return [str(part) for part in parts if isinstance(part, (str, Path)) and Path(part).parent.name]


def files_of(value: Any) -> list[Path]:
    """The files that a value names: a file with those that belong to it, all files of a folder, or those of a list."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, (str, Path)) for v in value):
        return [file for part in value for file in files_of(part)]
    if not isinstance(value, (str, Path)) or not value:
        return []
    path = Path(value)
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    beside = [path.with_suffix(suffix) for suffix in BESIDE.get(path.suffix, ())]
    return [file for file in (path, *beside) if file.is_file()] if path.is_file() else []
