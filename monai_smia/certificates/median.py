"""Median smoothing: what half of all draws around any parameters of a box keep, with confidence.

Chiang et al., NeurIPS 2020, over the parameters of a shift instead of pixels (Alfarra et al., AAAI 2022). A value f of
an image that was taken with parameters z + delta, delta normal, has percentiles that cannot move faster than those of a
normal variable: within a distance r of 0 its median is no less than the percentile Phi(-r / sigma) at 0. Draws around 0
bound that percentile by their order statistics, whatever the distribution. It holds of any figure of any pipeline; of a
decision that is right or wrong it is Cohen et al. (ICML 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import beta, binom, norm

CONFIDENCE = 0.95


def lower_share(count: int, draws: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound of a share (Clopper and Pearson).

    Example:
        >>> round(lower_share(100, 100), 4)  # .05 ** (1 / 100)
        0.9705
    """
    return 0.0 if count == 0 else float(beta.ppf(1 - confidence, count, draws - count + 1))


def median_bound(
    values: Sequence[float],
    distance: float,
    sigma: float,
    *,
    higher_is_better: bool = True,
    confidence: float = CONFIDENCE,
) -> float | None:
    """What the median of draws around any point within a distance is no worse than.

    Args:
        values: of draws around 0.
        distance: from 0, in the unit of sigma.
        sigma: standard deviation of the draws.
        higher_is_better: whether the bound is from below, or from above.
        confidence: of it.

    Returns:
        An order statistic of the values; None where there are too few draws to say anything.

    Example:
        >>> median_bound([0.9] * 19 + [0.2], 1.0, 1.0), median_bound([0.9] * 19 + [0.2], 2.0, 1.0)
        (0.2, None)
    """
    ranked = sorted(values, reverse=not higher_is_better)
    share = float(norm.cdf(-distance / sigma))
    ranks = np.arange(1, len(ranked) + 1)  # the k-th lies above the percentile where fewer than k draws lie below it
    allowed = ranks[binom.cdf(ranks - 1, len(ranked), share) <= 1 - confidence]
    return None if not len(allowed) else float(ranked[allowed[-1] - 1])


def certified_range(kept: int, draws: int, sigma: float, confidence: float = CONFIDENCE) -> float:
    """Distance within which more than half of the draws keep something, from how many around 0 do; 0 where not half.

    Args:
        kept: draws around 0 that keep it.
        draws: all of them.
        sigma: their standard deviation.
        confidence: of it.

    Example:
        >>> round(certified_range(100, 100, 1.0), 2), certified_range(50, 100, 1.0)
        (1.89, 0.0)
    """
    share = lower_share(kept, draws, confidence)
    return max(sigma * float(norm.ppf(share)), 0.0) if share > 0.5 else 0.0


def is_broken(kept: int, draws: int, confidence: float = CONFIDENCE) -> bool:
    """Whether draws around a point say, with confidence, that fewer than half of all keep something.

    Example:
        >>> is_broken(0, 5), is_broken(0, 4), is_broken(2, 20)
        (True, False, True)
    """
    return lower_share(draws - kept, draws, confidence) > 0.5
