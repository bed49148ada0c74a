"""The rows of a summary as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = ("attack", "loss", "setting", "eps", "eps_input", "stage", "gradients")
HIDDEN = (
    "unit",
    "norm",
    "steps",
    "alpha",
    "cases",
    "l2",
    "cos_mean",
    "damage",
    "seconds",
    "planned_gradients",
    "still_steps",
    "at_bound",
    "intervals",
    "erased",
)


def table_of(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Column names and formatted cells of a summary's rows; columns without any value are left out."""
    rows = summary["rows"]
    names = dict.fromkeys((*COLUMNS, *(name for row in rows for name in row)))
    columns = [n for n in names if n not in HIDDEN and any(row.get(n) not in (None, "") for row in rows)]
    return columns, [[cell({**row, "stage": stage_of(row)}.get(name)) for name in columns] for row in rows]


def stage_of(row: Mapping[str, Any]) -> str:
    """The stage of a row, and whether storage erased the perturbation: the radius is less than one unit of the file.

    Example:
        >>> stage_of({"stage": "stored", "cases": 2, "erased": 2}), stage_of({"stage": "stored", "cases": 2})
        ('stored, erased', 'stored')
    """
    erased, cases = row.get("erased", 0), row["cases"]
    return row["stage"] + (", erased" if erased == cases else f", {erased} erased" if erased else "")


def format_table(summary: Mapping[str, Any]) -> str:
    """The rows as plain text."""
    columns, table = table_of(summary)
    widths = [max(len(line[i]) for line in (columns, *table)) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in (columns, *table)
    )


def cell(value: Any) -> str:
    """A value with three or four digits."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if value.is_integer():
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
