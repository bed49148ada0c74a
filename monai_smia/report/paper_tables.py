"""The tables of the SMIA paper, ours beside the published figures.

Qi et al., Stabilized Medical Image Attacks, ICLR 2021, Tables 1 to 4 and 6. Their FGSM is iterated and equals their
DEV, row by row: it is `BIM` here. Their epsilon is the step and nothing projects, which is a ball of radius steps *
epsilon; here that is the setting "paper", and "equal radius" keeps every attack within epsilon. The rows are planned
by `monai_smia.evaluation.tables_plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_smia.files import write_text
from monai_smia.records import CLEAN, COMPUTED, Summary, SummaryRow
from monai_smia.records.rows import ALPHA, EQUAL_RADIUS, ITERATIONS, PAPER
from monai_smia.report.published import TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_6
from monai_smia.report.table import Table

NOISE = "Noise"
NAMES = {"BIM": "FGSM (= DEV)"}
NAMES_IN_TABLES = {"BIM": "FGSM"}
EAD = ("iou", "map")  # the metrics of Tables 2 to 4


def write_tables(
    output_dir: str | Path | None,
    summary: Summary | Mapping[str, Any],
    *,
    dataset: str,
    columns: Mapping[str, str],
    eps: float,
    steps: int = 10,
    also: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Write ``paper_tables.md``: ours with 95 % intervals, the published figure beside it.

    Args:
        output_dir: where to write; None only returns the text.
        summary: of an evaluation of `monai_smia.evaluation.tables_plan`; also as in ``summary.json``.
        dataset: the paper's dataset that Tables 1 and 6 are compared with.
        columns: our metric by the paper's heading, ``{"Acc(%)": "accuracy", "Jaccard(%)": "jaccard"}``.
        eps: the task's epsilon in network units.
        steps: iterations of the Tables 1, 3, 4 and 6.
        also: further datasets of Table 6 to compare with, with their columns.

    Returns:
        The text.

    Raises:
        ValueError: if the paper has no such dataset.
    """
    if dataset not in TABLE_1:
        raise ValueError(f"dataset must be one of {sorted(TABLE_1)}, got {dataset!r}.")
    found = summary if isinstance(summary, Summary) else Summary.from_json(summary)
    tables = _Tables(found.rows, dataset, columns, eps, steps)
    text = "\n".join(
        [
            f"{found.evaluated} of {found.cases} cases; 95 % interval by patient in brackets; "
            f"the paper's figure ({dataset} in Tables 1 and 6, EAD-2019 in Tables 2 to 4) after the bar.",
            *tables.ablation(),
            *tables.iterations(),
            *tables.radii(),
            *tables.alphas(),
            *tables.comparison(dataset, columns),
            *(line for name, heads in (also or {}).items() for line in tables.comparison(name, heads)),
        ]
    )
    if output_dir is not None:
        write_text(Path(output_dir) / "paper_tables.md", text + "\n")
    return text


@dataclass(frozen=True)
class _Line:
    """One line of a table: its name, our row, and the published figures by metric."""

    name: str
    row: SummaryRow | None
    published: Mapping[str, float]


class _Tables:
    def __init__(
        self, rows: Sequence[SummaryRow], dataset: str, columns: Mapping[str, str], eps: float, steps: int
    ) -> None:
        self.rows = [row for row in rows if row.stage == COMPUTED]
        self.dataset, self.columns, self.eps, self.steps = dataset, columns, eps, steps
        fair = dict.fromkeys(row.row.attack for row in self.rows if row.row.setting == EQUAL_RADIUS)
        self.attacks = [name for name in fair if name != NOISE]

    def ablation(self) -> list[str]:
        """Table 1."""
        names = {"DEV": "BIM", "DEV + STA": "SMIA"}
        columns = {**self.columns, "Cos(%)": "cos"}
        lines = [_Line(CLEAN, self._row(CLEAN), TABLE_1[self.dataset][CLEAN])]
        for setting, eps in ((EQUAL_RADIUS, self.eps), (PAPER, self.steps * self.eps)):
            for name, attack in names.items():
                published = TABLE_1[self.dataset][name]
                lines.append(_Line(f"{name}, {setting}", self._row(attack, setting, eps), published))
        return _table("Table 1: ablation", columns, lines)

    def iterations(self) -> list[str]:
        """Table 2."""
        others = [row.row.steps for row in self.rows if row.row.setting == ITERATIONS and row.row.steps is not None]
        found = [
            (count, lambda attack, n=count: self._of_steps(attack, n)) for count in dict.fromkeys([self.steps, *others])
        ]
        return self._grid("Table 2: iterations", found, TABLE_2)

    def radii(self) -> list[str]:
        """Table 3."""
        fair = {row.row.eps for row in self.rows if row.row.setting == EQUAL_RADIUS and row.row.eps is not None}
        found = [(round(eps / self.eps, 3), lambda a, e=eps: self._row(a, EQUAL_RADIUS, e)) for eps in sorted(fair)]
        return self._grid("Table 3: epsilon, as a multiple of the task's", found, TABLE_3)

    def alphas(self) -> list[str]:
        """Table 4."""
        rows = {0.0: self._row("BIM", EQUAL_RADIUS, self.eps), 1.0: self._row("SMIA", EQUAL_RADIUS, self.eps)}
        rows |= {r.row.alpha: r for r in self.rows if r.row.setting == ALPHA and r.row.alpha is not None}
        published = {a: dict(zip(EAD, v, strict=True)) for a, v in TABLE_4.items()}
        lines = [_Line(f"alpha {a:g}", rows[a], published.get(a, {})) for a in sorted(rows)]
        out = _table("Table 4: alpha", self.columns, lines)
        if not self._same_task():
            theirs = "; ".join(f"alpha {a:g}: {iou}, {mean}" for a, (iou, mean) in TABLE_4.items())
            out += ["", f"*The paper, EAD-2019 (IOU, mAP):* {theirs}."]
        return out

    def comparison(self, dataset: str, columns: Mapping[str, str]) -> list[str]:
        """Table 6."""
        published = {"BIM" if name == "FGSM" else name: figures for name, figures in TABLE_6[dataset].items()}
        lines = [_Line(CLEAN, self._row(CLEAN), published[CLEAN])]
        lines.append(_Line(f"{NOISE}, {EQUAL_RADIUS}", self._row(NOISE, EQUAL_RADIUS, self.eps), {}))
        for setting, eps in ((EQUAL_RADIUS, self.eps), (PAPER, self.steps * self.eps)):
            for attack in self.attacks:
                row = self._row(attack, setting, eps)
                if row is not None:
                    lines.append(_Line(f"{NAMES.get(attack, attack)}, {setting}", row, published.get(attack, {})))
        return _table(f"Table 6: comparison, {dataset}", {**columns, "Var": "var"}, lines)

    def _row(self, attack: str, setting: str = "", eps: float | None = None) -> SummaryRow | None:
        return next(
            (
                row
                for row in self.rows
                if (row.row.attack, row.row.setting) == (attack, setting)
                and (row.row.eps == eps or abs((row.row.eps or 0) - (eps or 0)) < 1e-9)
            ),
            None,
        )

    def _of_steps(self, attack: str, steps: int) -> SummaryRow | None:
        if steps == self.steps:
            return self._row(attack, EQUAL_RADIUS, self.eps)
        alike = [r for r in self.rows if (r.row.attack, r.row.setting, r.row.steps) == (attack, ITERATIONS, steps)]
        return next(iter(alike), None)

    def _same_task(self) -> bool:
        return set(self.columns.values()) >= set(EAD)

    def _grid(
        self,
        title: str,
        found: Sequence[tuple[float, Callable[[str], SummaryRow | None]]],
        published: Mapping[str, Mapping[Any, tuple[float, ...]]],
    ) -> list[str]:
        """One group of columns per value; published figures of another task are lines of their own."""
        lines: list[list[str]] = []
        for attack in self.attacks:
            paper = published.get(NAMES_IN_TABLES.get(attack, attack), {}) if self._same_task() else {}
            cells = []
            for value, row_of in found:
                figures = dict(zip(EAD, paper.get(value, ()), strict=False))
                cells += [_cell(row_of(attack), metric, figures.get(metric)) for metric in self.columns.values()]
            lines.append([NAMES.get(attack, attack), *cells])
        if not self._same_task():
            gap = [""] * (len(self.columns) - 1)
            for name, theirs in published.items():
                pairs = ["{}, {}".format(*theirs[value]) if value in theirs else "-" for value, _ in found]
                cells = [cell for pair in pairs for cell in (pair, *gap)]
                lines.append([f"*paper, EAD-2019 (IOU, mAP): {name}*", *cells])
        heads = [f"{value:g}: {name}" for value, _ in found for name in self.columns]
        return ["", f"### {title}", "", Table(["", *heads], lines).markdown()]


def _table(title: str, columns: Mapping[str, str], lines: Sequence[_Line]) -> list[str]:
    cells = [
        [line.name, *(_cell(line.row, metric, line.published.get(metric)) for metric in columns.values())]
        for line in lines
    ]
    return ["", f"### {title}", "", Table(["", *columns], cells).markdown()]


def _cell(row: SummaryRow | None, metric: str, published: float | None) -> str:
    scale, digits = (1, 3) if metric == "var" else (1, 1) if metric == "cos" else (100, 1)
    value = None if row is None else row.value(metric)
    text = "-" if value is None else f"{scale * value:.{digits}f}"
    interval = None if row is None else row.interval(metric)
    if interval:
        text += f" [{scale * interval[0]:.{digits}f}, {scale * interval[1]:.{digits}f}]"
    return text if published is None else f"{text} \\| {published:g}"
