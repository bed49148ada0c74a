"""Freed memory, given back to the operating system."""

from __future__ import annotations

import ctypes
import sys

EACH = 2**28  # bytes of windows and their outputs after which it takes no share of the time


class FreedMemory:
    """Gives freed memory back to the operating system, once so many bytes have been worked through.

    The C library of Linux (glibc) keeps freed blocks below 32 MB for the next ones, and PyTorch's aligned blocks often
    do not fit where one of their own size was. Gradients of some dozens of windows so leave a process with gigabytes
    that nobody uses, and that no longer fit together. Asked, the library returns every unused page; other libraries
    and systems are not asked, and hold what they hold.

    Args:
        each: bytes worked through between one time and the next.

    Example:
        >>> freed = FreedMemory(each=100)
        >>> freed.add(60), freed.add(60), freed.add(60)  # the second one is over the limit
        (False, True, False)
    """

    def __init__(self, each: float = EACH) -> None:
        self.each, self.passed = each, 0.0

    def add(self, size: float) -> bool:
        """Note that so many bytes have been worked through; whether it was time to give memory back."""
        self.passed += size
        due = self.passed >= self.each
        if due:
            give_back()
            self.passed = 0.0
        return due


def give_back() -> bool:
    """Return what is free to the operating system, as far as the C library can; whether there was anything.

    Example:
        >>> give_back() in (True, False)
        True
    """
    return _TRIM is not None and bool(_TRIM(0))


_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
