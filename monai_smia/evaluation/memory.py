"""Memory of one volume kept for the next one, where the system's allocator would give it back in between."""

from __future__ import annotations

import ctypes
import os
import sys

MMAP_MAX, TRIM_THRESHOLD = -4, -1  # of mallopt(3)
KEPT = 2**31 - 1  # bytes free at the end of the heap, above which they are given back


def keep_freed_memory() -> bool:
    """Let this process use memory again that was freed, instead of asking the system for it anew.

    glibc asks the system for every block of more than 32 MB and gives it back when it is freed, so that each tensor of
    a volume is paged in anew: on a CT that takes longer than what is computed, in every step of an attack and every
    metric. Kept blocks hold the very same values, and at most 2 GB at the end of the heap stay free. Whoever sets the
    allocator in the environment (``MALLOC_...``, ``GLIBC_TUNABLES``) is left alone; so is every system but Linux with
    glibc.

    Returns:
        Whether it was set.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    chosen = "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ)
    if chosen or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and all(mallopt(*option) == 1 for option in ((MMAP_MAX, 0), (TRIM_THRESHOLD, KEPT)))
