"""The manifest of a finished evaluation: the hash of every file that is evidence, ``manifest.json``."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monai_smia.files import UNFINISHED, write_text

MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "manifest.sig"
FORMAT = "monai_smia manifest 1"
FILES = (  # of an output folder; what else lies there (demo data, a tracking database) is no evidence
    *("spec.json", "summary.json", "records.jsonl", "checksums.json", "cases.csv", "report.json", "report.html"),
    "instructions_for_use.md",
)
FOLDERS = ("figures", "volumes", "photographs", "journal")
CHUNK = 1 << 20


class ManifestError(ValueError):
    """A manifest is none, or of another version."""


def evidence_files(folder: Path) -> list[str]:
    """Names of the files of a finished evaluation that are evidence, as they stand in its manifest."""
    inside = [path for name in FOLDERS for path in sorted((folder / name).rglob("*")) if path.is_file()]
    whole = [path for path in inside if not path.name.startswith(UNFINISHED)]
    return [name for name in FILES if (folder / name).is_file()] + [p.relative_to(folder).as_posix() for p in whole]


def is_evidence(path: Path, folder: Path) -> bool:
    """Whether a path is that of a file that is evidence, or would be taken for one, in the folder of an evaluation.

    Example:
        >>> [is_evidence(Path(name), Path("out")) for name in ("out/report.html", "out/volumes/a.zip", "out/a.zip")]
        [True, True, False]
    """
    try:
        inside = path.resolve().relative_to(folder.resolve())
    except ValueError:
        return False
    return inside.parts[:1] in [(name,) for name in FOLDERS] or str(inside) in (*FILES, MANIFEST_FILE, SIGNATURE_FILE)


def write_manifest(folder: Path) -> None:
    """Write the manifest of all evidence in a folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "spec.json").write_text("{}")
        >>> write_manifest(folder)
        >>> check_manifest(folder)
        []
        >>> _ = (folder / "spec.json").write_text("{ }")
        >>> check_manifest(folder)
        ['spec.json is not what the manifest says: 3 bytes, not 2.']
    """
    _write(folder, {name: _entry(folder / name) for name in evidence_files(folder)})


def update_manifest(folder: Path, names: Iterable[str]) -> None:
    """Enter files anew that were made anew, where there is a manifest; all other entries stay as they are."""
    if (folder / MANIFEST_FILE).is_file():
        _write(folder, read_manifest(folder) | {name: _entry(folder / name) for name in names})


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries of a manifest: ``sha256`` and ``bytes`` by name.

    Raises:
        ManifestError: if there is none, it is damaged or of another version, or it names a file outside of the folder.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise ManifestError(f"{str(folder)!r} holds no {MANIFEST_FILE}: run the evaluation again, which writes it.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        entries = {str(name): (str(e["sha256"]), int(e["bytes"])) for name, e in found["files"].items()}
        version = found["format"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"{MANIFEST_FILE} is damaged: {type(error).__name__}: {error}.") from error
    if version != FORMAT:
        raise ManifestError(f"{MANIFEST_FILE} must be of the format {FORMAT!r}, got {version!r}.")
    for name in entries:
        if not is_inside(name):
            raise ManifestError(f"{MANIFEST_FILE} names a file outside of its folder: {name!r}.")
    return {name: {"sha256": digest, "bytes": size} for name, (digest, size) in entries.items()}


def check_manifest(folder: Path) -> list[str]:
    """What of a folder is not what its manifest says, in sentences; nothing where all is.

    Raises:
        ManifestError: if there is no manifest, or it cannot be read.
    """
    entries = read_manifest(folder)
    there = set(evidence_files(folder))
    wrong = [f"{name} is missing." for name in entries if name not in there]
    wrong += [f"{name} is not in the manifest." for name in sorted(there - entries.keys())]
    for name in sorted(there & entries.keys()):
        size, expected = (folder / name).stat().st_size, entries[name]["bytes"]
        if size != expected:
            wrong.append(f"{name} is not what the manifest says: {size} bytes, not {expected}.")
        elif hash_of(folder / name) != entries[name]["sha256"]:
            wrong.append(f"{name} is not what the manifest says: its SHA-256 is another.")
    return wrong


def hash_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file."""
    total = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(CHUNK):
            total.update(block)
    return total.hexdigest()


def is_inside(name: str) -> bool:
    """Whether a name is that of a file within a folder, as zips and manifests write it.

    Example:
        >>> is_inside("figures/a.png"), is_inside("../a.png"), is_inside("/a.png"), is_inside("a\\\\b.png")
        (True, False, False, False)
    """
    parts = name.split("/")
    return bool(name) and "\\" not in name and ":" not in name and not {"", ".", ".."} & set(parts)


def _entry(path: Path) -> dict[str, Any]:
    return {"sha256": hash_of(path), "bytes": path.stat().st_size}


def _write(folder: Path, entries: dict[str, dict[str, Any]]) -> None:
    write_text(folder / MANIFEST_FILE, json.dumps({"format": FORMAT, "files": entries}, indent=1))
