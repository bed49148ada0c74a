"""The log of this package, shown to who runs it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

LOGGER = logging.getLogger("monai_smia")


class _Console(logging.Handler):
    """Writes plain lines to standard output, around a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


@contextmanager
def console(show: bool = True) -> Iterator[None]:
    """Within the block, what this package logs (INFO and above) goes to standard output as it is, and nowhere else.

    What Ignite tells of the start and the end of an engine, one for every row, is left out. The root logger is left
    alone, as is a logger that shows its lines already; outside of the block it is for the program that uses this
    package to say where they go.

    Args:
        show: False changes nothing.

    Example:
        >>> with console():
        ...     logging.getLogger("monai_smia.evaluation").info("one line")
        one line
    """
    if not show or any(isinstance(handler, _Console) for handler in LOGGER.handlers):
        yield
        return
    handler, level, propagate = _Console(), LOGGER.level, LOGGER.propagate
    engines = logging.getLogger("ignite.engine")
    of_engines = engines.level
    engines.setLevel(logging.WARNING)
    LOGGER.addHandler(handler)
    LOGGER.setLevel(min(logging.INFO, level) if level else logging.INFO)
    LOGGER.propagate = False  # MONAI's logging.conf prints what reaches the root: a table would stand there twice
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        LOGGER.propagate = propagate
        engines.setLevel(of_engines)
