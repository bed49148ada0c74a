"""Ratios of times that survive a noisy machine: interleaved pairs, the median and its interval."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np


def interleaved_ratio(ours: Callable[[], object], theirs: Callable[[], object], pairs: int = 20) -> dict[str, float]:
    """Median of time(ours) / time(theirs) over pairs run in turn, the order alternating, after one warm-up of each.

    Returns:
        As `ratio_of`.
    """
    ours(), theirs()
    times: list[tuple[float, float]] = []
    for pair in range(pairs):
        first, second = (ours, theirs) if pair % 2 == 0 else (theirs, ours)
        one, two = _seconds(first), _seconds(second)
        times.append((one, two) if pair % 2 == 0 else (two, one))
    return ratio_of(times)


def ratio_of(times: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Of pairs of seconds, ours and theirs.

    Returns:
        ``ratio``, its 95 % bootstrap interval ``low`` and ``high``, and the median seconds of both.
    """
    ratios = np.array([a / b for a, b in times])
    draws = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return {
        "ratio": float(np.median(ratios)),
        "low": float(low),
        "high": float(high),
        "ours_s": statistics.median(a for a, _ in times),
        "theirs_s": statistics.median(b for _, b in times),
    }


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
