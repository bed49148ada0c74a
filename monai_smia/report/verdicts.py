"""Criteria of the user's own, met or not, as sentences."""

from __future__ import annotations

from collections.abc import Sequence

from monai_smia.records import Flag, Verdict
from monai_smia.report.table import cell

CLOSE = 0.001  # to a threshold: within the digits of a table


def verdict_text(verdict: Verdict, flags: Sequence[Flag] = ()) -> str:
    """One sentence: the criterion, met or not, with its figure; and that a figure met is flagged.

    Example:
        >>> verdict_text(Verdict("jaccard >= .8 at 28 HU", "worst-case mean", 0.79961, 0.8, False, cases=12))
        'jaccard >= .8 at 28 HU: not met, the worst-case mean of 12 cases is 0.79961.'
        >>> verdict_text(Verdict("dice >= .8 at 28 HU", "worst-case mean", None, 0.8, False, "no case has dice"))
        'dice >= .8 at 28 HU: not met, the worst-case mean cannot be told: no case has dice.'
    """
    if verdict.value is None:
        return f"{verdict.criterion}: not met, the {verdict.of} cannot be told: {verdict.reason}."
    outcome = "met" if verdict.met else "not met"
    cases = f"{verdict.cases} case{'' if verdict.cases == 1 else 's'}"
    flagged = ""
    if flags and verdict.met:
        names = ", ".join(dict.fromkeys(flag.name for flag in flags))
        flagged = f" Flags were raised ({names}): do not trust it yet."
    return f"{verdict.criterion}: {outcome}, the {verdict.of} of {cases} is {_figure(verdict)}.{flagged}"


def _figure(verdict: Verdict) -> str:
    """As in tables, with more digits where these are the threshold's."""
    text = cell(verdict.value)
    return f"{verdict.value:.9g}" if abs(float(text) - verdict.threshold) < CLOSE else text
