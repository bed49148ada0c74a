"""Evidence as one file: the zip of a finished evaluation with its manifest, and what such a zip holds."""

from __future__ import annotations

import os
import stat
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_smia.evidence.signature import sign
from monai_smia.files import replacing
from monai_smia.records import check_seal
from monai_smia.records.manifest import (
    MANIFEST_FILE,
    SIGNATURE_FILE,
    ManifestError,
    check_manifest,
    is_evidence,
    is_inside,
    read_manifest,
)

LARGEST = 1 << 28  # bytes of a manifest
UNPACKING = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every entry: the same folder makes the same zip
PACKED = (".gz", ".png", ".jpg", ".zip")  # which deflating makes no smaller


class EvidenceError(ValueError):
    """What was given is no evidence that can be looked at, or none that may be packed."""


def write_evidence(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    *,
    key: str | os.PathLike[str] | None = None,
) -> tuple[Path, int]:
    """Pack a finished evaluation with its manifest, signed where a key is given.

    Args:
        folder: output folder; only what stands in its manifest is packed, no input image and no demo data.
        path: of the zip; None for ``evidence.zip`` in the folder.
        key: PEM file of an Ed25519 private key; None for no signature.

    Returns:
        The zip, and how many files the manifest names.

    Raises:
        EvidenceError: if the folder is not what its evaluation wrote: nothing that was changed is signed.
        ManifestError: if it has no manifest.
        DamagedRecordsError: if a record is damaged.
        SignatureError: if the key is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise EvidenceError(f"folder {folder} does not exist or is a file; give that of an evaluation.")
    names = read_manifest(folder)
    if wrong := check_manifest(folder):
        raise EvidenceError(f"{str(folder)!r} is not what its evaluation wrote, and is not packed: {' '.join(wrong)}")
    check_seal(folder)
    manifest = (folder / MANIFEST_FILE).read_bytes()
    extra = {MANIFEST_FILE: manifest} | ({} if key is None else {SIGNATURE_FILE: sign(manifest, key)})
    path = folder / "evidence.zip" if path is None else Path(path)
    if is_evidence(path, folder):
        raise EvidenceError(f"zip must lie elsewhere than among the files of the evidence itself, got {path}.")
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for name, content in extra.items():
            file.writestr(_entry(name), content)
        for name in names:
            with (folder / name).open("rb") as source, file.open(_entry(name), "w", force_zip64=True) as target:
                while block := source.read(1 << 20):
                    target.write(block)
    return path, len(names)


@contextmanager
def opened(evidence: str | os.PathLike[str]) -> Iterator[tuple[Path, list[str]]]:
    """A folder of the evidence, itself or a temporary one with the files of a zip, and what is wrong with the zip.

    Args:
        evidence: output folder or zip.

    Raises:
        EvidenceError: if it is neither.
        ManifestError: if a zip has no manifest, or one that cannot be read.
    """
    path = Path(evidence)
    if path.is_dir():
        yield path, []
        return
    if not path.is_file():
        raise EvidenceError(f"evidence {path} does not exist; give an output folder, or its zip.")
    with tempfile.TemporaryDirectory() as temporary:
        try:
            with zipfile.ZipFile(path) as file:
                wrong = _unpack(file, Path(temporary))
        except zipfile.BadZipFile as error:
            raise EvidenceError(f"{path.name} is damaged or no zip: {error}.") from error
        yield Path(temporary), wrong


def _unpack(file: zipfile.ZipFile, folder: Path) -> list[str]:
    """Unpack what the manifest names, and say what else there is; nothing leaves the folder."""
    entries = {entry.filename: entry for entry in file.infolist() if not entry.is_dir()}
    wrong = [f"the zip holds {name} twice." for name, count in Counter(file.namelist()).items() if count > 1]
    if MANIFEST_FILE not in entries or entries[MANIFEST_FILE].file_size > LARGEST:
        raise ManifestError(f"the zip holds no {MANIFEST_FILE}: it is none that `python -m monai_smia evidence` made.")
    file.extract(MANIFEST_FILE, folder)
    known = read_manifest(folder)
    for name, entry in entries.items():
        own = name in (MANIFEST_FILE, SIGNATURE_FILE)
        if not is_inside(name) or stat.S_ISLNK(entry.external_attr >> 16):
            wrong.append(f"the zip holds a link, or a file outside of its folder: {name!r}.")
        elif not own and name not in known:
            wrong.append(f"{name} is not in the manifest.")
        elif entry.file_size != (known[name]["bytes"] if not own else min(entry.file_size, LARGEST)):
            wrong.append(f"{name} is not as long as the manifest says.")
        else:
            try:
                file.extract(entry, folder)
            except UNPACKING as error:
                wrong.append(f"{name} cannot be unpacked: {error}.")
    return wrong


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_STORED if name.endswith(PACKED) else zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry
