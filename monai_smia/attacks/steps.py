"""The steps of a running attack, as somebody who watches them is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm.auto import tqdm

_WATCHER: ContextVar[Callable[[], None] | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Callable[[], None]) -> Iterator[None]:
    """Within the block attacks show no progress bar of their own, and call the watcher at every step.

    Example:
        >>> calls = []
        >>> with watched(lambda: calls.append("step")):
        ...     list(steps(2, name="PGD", show=True))
        [0, 1]
        >>> calls
        ['step', 'step']
    """
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def steps(count: int, *, name: str, show: bool) -> Iterable[int]:
    """The numbers of an attack's steps; a progress bar shows them once they have taken five seconds.

    Args:
        count: how many.
        name: of the attack.
        show: False for no bar.
    """
    watcher = _WATCHER.get()
    if watcher is None:
        return tqdm(range(count), desc=name, disable=not show, delay=5, leave=False)
    return _told(count, watcher)


def _told(count: int, watcher: Callable[[], None]) -> Iterator[int]:
    for step in range(count):
        watcher()
        yield step
