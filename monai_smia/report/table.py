"""Tables: heads and lines once, as plain text, Markdown or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monai_smia.records.summary import Interval

FORMULA = ("=", "+", "-", "@")  # how a cell begins that a spreadsheet would compute


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


def interval_text(interval: Interval) -> str:
    """An interval in brackets, nothing where there is none."""
    return f" [{cell(float(interval[0]))}, {cell(float(interval[1]))}]" if interval else ""
