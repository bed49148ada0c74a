"""Cells of the tables of the SMIA paper: figures with intervals, and Var in three stated normalizations.

Var is not defined in the paper, and no raw variance is as large as its figures. Ours is the population variance of the
perturbation over voxels: raw, in network units squared (`RAW`); over epsilon squared (`OVER_EPS`); and over the square
of the largest change that the row's steps add up to (`OVER_REACH`), which lies in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from monai_smia.records import SummaryRow
from monai_smia.records.rows import RowKey
from monai_smia.report.table import Table

OVER_REACH, OVER_EPS, RAW, THEIRS = "var", "var_eps", "var_raw", "var_published"
VARIANCES = {
    "Var / reach^2": OVER_REACH,
    "Var / eps^2": OVER_EPS,
    "Var": RAW,
    "the paper's Var": THEIRS,
}
IN_DIGITS = {OVER_REACH: ".3f", OVER_EPS: ".2f", RAW: ".2e", "cos": ".1f"}  # not in per cent


@dataclass(frozen=True)
class Line:
    """One line of a table: its name, our row, and the published figures by metric."""

    name: str
    row: SummaryRow | None
    published: Mapping[str, float]


def is_of(row: RowKey, eps: float) -> bool:
    """Whether a row is of this epsilon: its radius, or what the steps of the paper's setting add up to.

    Example:
        >>> is_of(RowKey("BIM", "paper", eps=0.1, steps=10), 0.01), is_of(RowKey("BIM", "equal radius", eps=0.1), 0.01)
        (True, False)
    """
    if row.as_the_paper and row.attack == "DeepFool":  # its steps are not of epsilon
        return True
    steps = 1
    if row.as_the_paper:
        steps = (row.steps or 0) + (row.attack == "PGD")  # which begins within epsilon
    return abs((row.eps or 0) - steps * eps) < 1e-9


def var_factors(row: RowKey, eps: float) -> dict[str, float]:
    """What brings a row's Var, over the square of its own radius, to each of the three normalizations.

    In the paper's setting PGD's radius has its start on top, and DeepFool's is the whole range: their Var over that
    would be of other quantities than that of the others.

    Args:
        row: the row.
        eps: of the task, for DeepFool.

    Example:
        >>> factors = var_factors(RowKey("PGD", "paper", eps=0.11, steps=10), 0.01)
        >>> {name: round(value, 4) for name, value in factors.items()}
        {'var': 1.21, 'var_eps': 121.0, 'var_raw': 0.0121}
    """
    own = row.eps or 0.0
    if not own:
        return {OVER_REACH: 1.0, OVER_EPS: 1.0, RAW: 0.0}
    if not row.as_the_paper or not row.steps:
        return {OVER_REACH: 1.0, OVER_EPS: 1.0, RAW: own**2}
    step = eps if row.attack == "DeepFool" else own / (row.steps + (row.attack == "PGD"))
    return {OVER_REACH: (own / (row.steps * step)) ** 2, OVER_EPS: (own / step) ** 2, RAW: own**2}


def with_variances(row: SummaryRow, eps: float) -> SummaryRow:
    """A row whose metrics hold Var in the three normalizations."""
    var, interval = row.metrics.get("var"), (row.intervals or {}).get("var")
    if var is None:
        return row
    factors = var_factors(row.row, eps)
    scaled = {
        name: None if interval is None else [factor * end for end in interval] for name, factor in factors.items()
    }
    metrics = {name: factor * var for name, factor in factors.items()}
    return replace(row, metrics={**row.metrics, **metrics}, intervals={**(row.intervals or {}), **scaled})


def table(title: str, columns: Mapping[str, str], lines: Sequence[Line]) -> list[str]:
    """A table with its heading, as lines of Markdown.

    Args:
        title: of the table.
        columns: metric by heading.
        lines: its lines.
    """
    cells = [
        [line.name, *(cell(line.row, metric, line.published.get(metric)) for metric in columns.values())]
        for line in lines
    ]
    return ["", f"### {title}", "", Table(["", *columns], cells).markdown()]


def cell(row: SummaryRow | None, metric: str, published: float | None = None) -> str:
    """A figure with its interval, in per cent but for Var, and the published one after a bar."""
    if metric == THEIRS:
        return "-" if published is None else f"{published:g}"
    digits = IN_DIGITS.get(metric, ".1f")
    scale = 1 if metric in IN_DIGITS else 100
    value = None if row is None else row.value(metric)
    text = "-" if value is None else f"{scale * value:{digits}}"
    interval = None if row is None else row.interval(metric)
    if interval:
        text += f" [{scale * interval[0]:{digits}}, {scale * interval[1]:{digits}}]"
    return text if published is None else f"{text} \\| {published:g}"
