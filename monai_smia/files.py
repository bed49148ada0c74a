"""Files that are complete or not there."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MARK = "ADVERSARIAL TEST - NOT FOR CLINICAL USE"  # what every adversarial image that is written says about itself
UNFINISHED = ".unfinished-"  # begins the name of a file that is being written


class WriteError(OSError):
    """A file of the output cannot be written, which is no fault of what was to be written into it."""


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Whatever the operating system refuses within the block is a `WriteError` that names the file and its folder.

    Example:
        >>> with writing("volumes/a.nii.gz"):
        ...     raise OSError(28, "No space left on device")
        Traceback (most recent call last):
        monai_smia.files.WriteError: [Errno 28] volumes/a.nii.gz cannot be written: No space left on device
    """
    path = Path(path)
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        name = f"{path.parent.name}/{path.name}".lstrip("/")
        raise WriteError(error.errno, f"{name} cannot be written: {error.strerror or error}") from error


def check_file_name(what: str, name: str, most: int = 255) -> None:
    """Raise where a name is none of one file, which lies in the folder that it is written into.

    Args:
        what: of the argument.
        name: that becomes one, or the beginning of one.
        most: how many bytes it may have.

    Raises:
        ValueError: with what is allowed.

    Example:
        >>> check_file_name("case", "../../x")
        Traceback (most recent call last):
        ValueError: case must name a file: at most 255 bytes, no folder in it, no dot in front; got '../../x'.
    """
    bad = not isinstance(name, str) or not name or name[0] == "." or any(c in "/\\" or ord(c) < 32 for c in name)
    if bad or len(name.encode()) > most:
        raise ValueError(
            f"{what} must name a file: at most {most} bytes, no folder in it, no dot in front; got {name!r}."
        )


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, of the same suffix, that takes its place once the block has succeeded.

    Its folder is made if it does not exist, its name is no other process's, and it is on disk (fsync) before it takes
    its place. After an error, or a kill, whatever was at `path` is there unchanged.

    Args:
        path: the file to write.

    Raises:
        WriteError: if the operating system does not let it be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> with replacing(path) as temporary:
        ...     _ = temporary.write_text("a,b")
        >>> path.read_text(), len(list(path.parent.iterdir()))
        ('a,b', 1)
    """
    path = Path(path)
    temporary = unfinished(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def unfinished(path: Path) -> Path:
    """A path beside another one for what is being written, of the same suffix, which is no other process's."""
    return path.with_name(f"{UNFINISHED}{uuid.uuid4().hex[:12]}-{path.name}")


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
    for path in list(Path(folder).rglob(f"{UNFINISHED}*")):
        remove(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; what is gone already is gone.

    Raises:
        WriteError: if the operating system does not let it be removed.
    """
    with writing(path):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
