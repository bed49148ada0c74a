"""Text without what tells whose a case is: folders, which are named after patients, and UIDs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

# a folder, and what stands in it: /data/ward 7/ is told by the names that are known, /data/ward7/ by its looks
FOLDERS = re.compile(
    r"(?<![\w.\\/:])(?:~|[A-Za-z]:|file:/{0,2}|[\\/])?(?:[\\/][^\s\\/'\",;:()\[\]]+)+[\\/](?=[^\s\\/])"
)
UID = re.compile(r"(?<![\w.])[0-2](?:\.\d+){4,}(?![\w.]*\w)")


def without_private(text: str, known: Iterable[str | Path] = ()) -> str:
    """The text with files by their names alone, and without UIDs.

    Args:
        text: an error's, or a command line.
        known: files and folders that it may name, spaces and all.

    Example:
        >>> without_private("cannot read '/data/Doe John/ct.nii.gz' of 1.2.840.10008.1", ["/data/Doe John/ct.nii.gz"])
        "cannot read 'ct.nii.gz' of (a UID)"
        >>> without_private("run --dataset_dir /data/ward7/ct --eps 8/255 'configs/attack_eval.yaml'")
        "run --dataset_dir ct --eps 8/255 'configs/attack_eval.yaml'"
    """
    for path in sorted(map(str, known), key=len, reverse=True):
        folder = str(Path(path).parent)
        if folder not in (".", "/"):
            text = text.replace(path, Path(path).name).replace(f"{folder}/", "").replace(f"{folder}\\", "")
    return UID.sub("(a UID)", FOLDERS.sub("", text))
