"""Files that are complete or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MARK = "ADVERSARIAL TEST - NOT FOR CLINICAL USE"  # what every adversarial image that is written says about itself


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, of the same suffix, that takes its place once the block has succeeded.

    Its folder is made if it does not exist. After an error, or a kill, whatever was at `path` is there unchanged.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> with replacing(path) as temporary:
        ...     _ = temporary.write_text("a,b")
        >>> path.read_text(), len(list(path.parent.iterdir()))
        ('a,b', 1)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}_{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
