"""One run at a time on an output folder: a lock of the operating system, which a process that dies does not keep."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from monai_smia.evaluation.errors import LockedError
from monai_smia.files import writing

LOCK_FILE = ".lock"
WITHOUT = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # what a file system without locks answers
LOGGER = logging.getLogger(__name__)
_OWN: set[Path] = set()  # folders that this process holds: locks of the operating system are between processes


@contextmanager
def locked(folder: str | os.PathLike[str], *, wait: float = 0.0) -> Iterator[None]:
    """Within the block no other run, of this process or another one, has the folder.

    The file names host and process of who holds it. It stays when its process dies, and the lock does not.

    Args:
        folder: made if it does not exist.
        wait: seconds that a process which is about to die is waited for.

    Raises:
        LockedError: that names who has it.
        WriteError: if the folder cannot be written into.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with locked(folder), locked(folder):
        ...     pass
        Traceback (most recent call last):
        monai_smia.evaluation.errors.LockedError: output_dir=...
    """
    folder = Path(folder).resolve()
    path = folder / LOCK_FILE
    if folder in _OWN:  # before the file is opened: when this process closes it, its lock is gone
        raise LockedError(_sentence(folder, f"process {os.getpid()} on {socket.gethostname()}, this one"))
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)
    with file:
        until = time.monotonic() + wait
        while not (taken := _lock(file.fileno())) and time.monotonic() < until:
            time.sleep(0.2)
        if not taken:
            raise LockedError(_sentence(folder, _owner(path)))
        _OWN.add(folder)
        try:
            with writing(path):
                file.truncate(0)
                file.write(json.dumps({"host": socket.gethostname(), "process": os.getpid()}).encode())
            yield
        finally:
            _OWN.discard(folder)
            _unlock(file.fileno())


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return f"process {owner['process']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # it is about to say so
        return "another process"


def _sentence(folder: Path, who: str) -> str:
    return (
        f"output_dir={str(folder)!r} is in use by {who}, and two runs would mix their records: wait for it, or choose "
        "another output_dir. Several processes of one run are started by torchrun."
    )


if os.name == "nt":  # pragma: no cover
    import msvcrt

    def _lock(file: int) -> bool:
        """Whether a file could be locked; the first byte far behind its end stands for all of it."""
        os.lseek(file, 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        os.lseek(file, 0, os.SEEK_SET)
        return True

    def _unlock(file: int) -> None:
        os.lseek(file, 1 << 30, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _lock(file: int) -> bool:
        """Whether a file could be locked; a child that is forked does not inherit it."""
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # another one has it
            return False
        except OSError as error:
            if error.errno not in WITHOUT:
                raise
            LOGGER.warning("The file system of output_dir has no locks: see to it that no other run has it.")
        return True

    def _unlock(file: int) -> None:
        with suppress(OSError):
            fcntl.lockf(file, fcntl.LOCK_UN)
