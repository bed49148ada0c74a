"""Ratios of times that survive a noisy machine: interleaved pairs, the median and its interval."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np


def interleaved_ratio(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    pairs: int = 20,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median of time(ours) / time(theirs) over pairs run in turn, the order alternating, after one warm-up of each.

    Args:
        ours, theirs: what is timed.
        pairs: how often.
        clock: the wall's, or `time.process_time`, which does not count what other processes take of a busy machine.

    Returns:
        As `ratio_of`.
    """
    ours(), theirs()
    times: list[tuple[float, float]] = []
    for pair in range(pairs):
        first, second = (ours, theirs) if pair % 2 == 0 else (theirs, ours)
        one, two = _seconds(first, clock), _seconds(second, clock)
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


COLUMNS = {
    "ours / theirs": "{ratio:.3f}",
    "95 % interval": "{low:.3f} to {high:.3f}",
    "ours (s)": "{ours_s:.3f}",
    "theirs (s)": "{theirs_s:.3f}",
}  # of a table of what `ratio_of` gives


def add_clock(parser: argparse.ArgumentParser) -> None:
    """The switch ``--cpu`` of a benchmark; `parse_args` then gives `clock`."""
    parser.add_argument(
        "--cpu",
        dest="clock",
        action="store_const",
        const=time.process_time,
        default=time.perf_counter,
        help="take processor time in one thread instead of the wall's: for a busy machine",
    )


def _seconds(run: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    run()
    return clock() - start
