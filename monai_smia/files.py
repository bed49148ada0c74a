"""Files that are complete or not there."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MARK = "ADVERSARIAL TEST - NOT FOR CLINICAL USE"  # what every adversarial image that is written says about itself
UNFINISHED = ".unfinished-"  # begins the name of a file that is being written


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, of the same suffix, that takes its place once the block has succeeded.

    Its folder is made if it does not exist, its name is no other process's, and it is on disk (fsync) before it takes
    its place. After an error, or a kill, whatever was at `path` is there unchanged.

    Args:
        path: the file to write.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> with replacing(path) as temporary:
        ...     _ = temporary.write_text("a,b")
        >>> path.read_text(), len(list(path.parent.iterdir()))
        ('a,b', 1)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{UNFINISHED}{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8, line ends as they are in the text) that is complete or not there.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new" / "note.txt"
        >>> write_text(path, "done")
        >>> path.read_text()
        'done'
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Remove what processes that were killed left half written in a folder and below it; nobody may write there now.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / f"{UNFINISHED}0123-figure.png").write_text("half a pic")
        >>> remove_unfinished(folder)
        >>> list(folder.iterdir())
        []
    """
    for path in Path(folder).rglob(f"{UNFINISHED}*"):
        path.unlink(missing_ok=True)
