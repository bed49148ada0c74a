"""Tables: heads and lines once, as plain text, Markdown or CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monai_smia.records.summary import Interval

FORMULA = ("=", "+", "-", "@")  # how a cell begins that a spreadsheet would compute
MOST_DECIMALS = 4


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        heads: of the columns; that of the first may be empty.
        lines: cells, text already where its form matters.

    Example:
        >>> table = Table(["attack", "dice"], [["BIM", cell(0.25)]])
        >>> print(table.text())
        attack   dice
        BIM     0.250
        >>> print(table.markdown())
        | attack | dice |
        |---|---|
        | BIM | 0.250 |
    """

    heads: Sequence[str]
    lines: Sequence[Sequence[Any]]

    @property
    def width(self) -> int:
        """Characters of a line of `text`."""
        return len(self.text().partition("\n")[0])

    def text(self) -> str:
        """Columns of equal width, the first one to the left."""
        lines = [[str(value) for value in line] for line in (self.heads, *self.lines)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.heads))]
        return "\n".join(
            "  ".join(
                text.rjust(width) if column else text.ljust(width)
                for column, (text, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        )

    def markdown(self) -> str:
        """As Markdown has tables."""
        rows = [[f" {text} " if text else " " for text in map(str, line)] for line in (self.heads, *self.lines)]
        head, *lines = [f"|{'|'.join(row)}|" for row in rows]
        return "\n".join([head, "|---" * len(self.heads) + "|", *lines])

    def csv(self) -> str:
        """As spreadsheets read it; None is an empty cell, and text that they would take for a formula begins with '."""
        text = io.StringIO()
        csv.writer(text).writerows([_plain(value) for value in line] for line in [self.heads, *self.lines])
        return text.getvalue()


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.lstrip().startswith(FORMULA) else value


def cell(value: Any) -> str:
    """A value with three or four digits.

    Example:
        >>> cell(0.12345), cell(12.345), cell(2.0), cell(None)
        ('0.123', '12.3', '2', '-')
    """
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if value.is_integer():
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def length(value: float | None) -> str:
    """A radius or a change: `cell`, with three digits however small it is, for 0.0004 of a change is not none.

    Example:
        >>> length(0.00039216), length(12.75), length(0.0), length(None)
        ('0.000392', '12.8', '0', '-')
    """
    return f"{value:.3g}" if value and abs(value) < 0.01 else cell(value)


def decimals_of(interval: Interval) -> int | None:
    """Decimals of a figure with an interval: two significant digits of the interval's width, `MOST_DECIMALS` at most.

    Args:
        interval: its two ends.

    Returns:
        The number; None, which leaves it to `cell`, where there is no interval, or one without a width.

    Example:
        >>> [decimals_of(ends) for ends in ([0.125, 0.5], [0.84, 0.87], [12.0, 31.0], None)]
        [2, 3, 0, None]
    """
    width = float(f"{interval[1] - interval[0]:.9g}") if interval else 0.0
    return min(max(1 - math.floor(math.log10(width)), 0), MOST_DECIMALS) if width > 0 else None


def rounded(value: float | None, decimals: int | None, sign: str = "") -> str:
    """A value with as many decimals; as `cell` has it where None are given.

    Args:
        value: None where it is undefined.
        decimals: as of `decimals_of`.
        sign: ``"+"`` writes that of a positive number, too.

    Example:
        >>> rounded(0.9, 2), rounded(-0.0004, 2), rounded(0.12, 3, "+"), rounded(0.9, None, "+"), rounded(None, 2)
        ('0.90', '0.00', '+0.120', '+0.900', '-')
    """
    if value is None or decimals is None:
        return (sign if value is not None and value >= 0 else "") + cell(value)
    return f"{round(float(value), decimals) + 0.0:{sign}.{decimals}f}"


def interval_text(interval: Interval) -> str:
    """An interval in brackets, with the decimals of `decimals_of`; nothing where there is none.

    Example:
        >>> interval_text([0.125, 0.5]), interval_text(None)
        (' [0.12, 0.50]', '')
    """
    return f" [{', '.join(rounded(float(end), decimals_of(interval)) for end in interval)}]" if interval else ""


def with_interval(value: float | None, interval: Interval) -> str:
    """A figure and its interval, with the same decimals.

    Example:
        >>> with_interval(0.25, [0.125, 0.5]), with_interval(0.25, None)
        ('0.25 [0.12, 0.50]', '0.250')
    """
    return rounded(value, decimals_of(interval)) + interval_text(interval)
