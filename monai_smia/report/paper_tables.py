"""The tables of the SMIA paper, ours beside the published figures.

Qi et al., Stabilized Medical Image Attacks, ICLR 2021, Tables 1 to 4 and 6. Their FGSM is iterated and equals their
DEV, row by row: it is `BIM` here. Their epsilon is the step and nothing projects; here that is the setting "paper", and
"equal radius" keeps every attack within epsilon. The rows are planned by `monai_smia.evaluation.tables_plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_smia.attacks import Reading
from monai_smia.files import write_text
from monai_smia.records import CLEAN, COMPUTED, Summary, SummaryRow
from monai_smia.records.rows import (
    ALPHA,
    EQUAL_RADIUS,
    ITERATIONS,
    PAPER,
    PAPER_ALPHA,
    PAPER_ITERATIONS,
)
from monai_smia.report.paper_cells import OVER_REACH, THEIRS, VARIANCES, Line, cell, is_of, table, with_variances
from monai_smia.report.published import EAD, TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_6, named
from monai_smia.report.table import Table

NOISE = "Noise"
NAMES = {"BIM": "FGSM (= DEV)"}
NAMES_IN_TABLES = {"BIM": "FGSM"}
VARIED = {EQUAL_RADIUS: (ITERATIONS, ALPHA), PAPER: (PAPER_ITERATIONS, PAPER_ALPHA)}  # by setting
RULES = {
    EQUAL_RADIUS: (
        "No change above epsilon; BIM, PGD and SMIA take steps of 2.5 epsilon / iterations, DAG steps whose largest "
        "change is 10 epsilon, DeepFool its own, each projected onto the ball; of the iterates the one of most damage "
        "counts."
    ),
    PAPER: (
        "BIM, PGD and SMIA take steps of epsilon, DAG steps whose largest change is epsilon, DeepFool its own; nothing "
        "is projected but onto the valid range, PGD begins at a random point within epsilon, and the last iterate "
        "counts (DeepFool: the first that is decided wrongly)."
    ),
}

DEFAULT_READING = Reading().name
READS = (
    f"SMIA reads Eq. 3 and 4 as *{DEFAULT_READING}*, unless its line says otherwise: soft target with the gradient "
    "through it, the total perturbation smoothed, the divergence that of the deviation's own loss."
)
VAR = (
    "Var is the population variance of the perturbation over voxels, in three normalizations: over the square of the "
    "reach, which is the radius, or epsilon times iterations where nothing is projected; over epsilon squared; and as "
    "it is, in network units squared. The paper does not say what its own is of, so that it stands in a column of its "
    "own and only its order can be compared."
)


def write_tables(
    output_dir: str | Path | None,
    summary: Summary | Mapping[str, Any],
    *,
    dataset: str,
    columns: Mapping[str, str],
    eps: float,
    paper_eps: float | None = None,
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
        paper_eps: that of the rows in the paper's own setting, by default the same.
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
    own = eps if paper_eps is None else paper_eps
    tables = _Tables(found.rows, dataset, columns, (eps, own), steps)
    rules = {EQUAL_RADIUS: "", PAPER: f" Epsilon is {own:g} here, {eps:g} at equal radius." if own != eps else ""}
    text = "\n".join(
        [
            f"{found.evaluated} of {found.cases} cases; 95 % interval by patient in brackets; "
            f"the paper's figure ({dataset} in Tables 1 and 6, EAD-2019 in Tables 2 to 4) after the bar.",
            "",
            *(f"- *{setting}*: {RULES[setting]}{rules[setting]}" for setting in tables.settings),
            f"- {READS}",
            f"- {VAR}",
            *tables.ablation(),
            *(line for setting in tables.settings for line in tables.iterations(setting)),
            *(line for setting in tables.settings for line in tables.radii(setting)),
            *(line for setting in tables.settings for line in tables.alphas(setting)),
            *(line for setting in tables.settings for line in tables.readings(setting)),
            *tables.comparison(dataset, columns),
            *(line for name, heads in (also or {}).items() for line in tables.comparison(name, heads)),
        ]
    )
    if output_dir is not None:
        write_text(Path(output_dir) / "paper_tables.md", text + "\n")
    return text


class _Tables:
    def __init__(
        self,
        rows: Sequence[SummaryRow],
        dataset: str,
        columns: Mapping[str, str],
        eps: tuple[float, float],
        steps: int,
    ) -> None:
        self.rows = [with_variances(row, eps[row.row.as_the_paper]) for row in rows if row.stage == COMPUTED]
        self.dataset, self.columns, self.eps, self.steps = dataset, columns, eps, steps
        self.settings = [setting for setting in VARIED if any(row.row.setting == setting for row in self.rows)]
        fair = dict.fromkeys(row.row.attack for row in self.rows if row.row.setting == EQUAL_RADIUS)
        self.attacks = [name for name in fair if name != NOISE]

    def ablation(self) -> list[str]:
        """Table 1."""
        names = {"DEV": "BIM", "DEV + STA": "SMIA"}
        columns = {**self.columns, "Cos(%)": "cos"}
        lines = [Line(CLEAN, self._clean(), TABLE_1[self.dataset][CLEAN])]
        for setting in self.settings:
            for name, attack in names.items():
                published = TABLE_1[self.dataset][name]
                lines.append(Line(f"{name}, {setting}", self._row(attack, setting), published))
        return table("Table 1: ablation", columns, lines)

    def iterations(self, setting: str) -> list[str]:
        """Table 2."""
        varied, _ = VARIED[setting]
        others = [row.row.steps for row in self.rows if row.row.setting == varied and row.row.steps is not None]
        counts = dict.fromkeys([self.steps, *others])
        found = [
            (n, lambda attack, n=n: self._row(attack, setting if n == self.steps else varied, steps=n)) for n in counts
        ]
        return self._grid(f"Table 2: iterations, {setting}", found, TABLE_2)

    def radii(self, setting: str) -> list[str]:
        """Table 3."""
        fair = {row.row.eps for row in self.rows if row.row.setting == EQUAL_RADIUS and row.row.eps is not None}
        factors = [round(eps / self.eps[0], 3) for eps in sorted(fair)]
        found = [(factor, lambda a, f=factor: self._row(a, setting, factor=f)) for factor in factors]
        return self._grid(f"Table 3: epsilon, as a multiple of the task's, {setting}", found, TABLE_3)

    def alphas(self, setting: str) -> list[str]:
        """Table 4."""
        _, varied = VARIED[setting]
        rows = {0.0: self._row("BIM", setting), 1.0: self._row("SMIA", setting)}
        rows |= {r.row.alpha: r for r in self.rows if r.row.setting == varied and r.row.alpha is not None}
        published = {a: named(figures) for a, figures in TABLE_4.items()}
        lines = [Line(f"alpha {a:g}", rows[a], published.get(a, {})) for a in sorted(rows)]
        out = table(f"Table 4: alpha, {setting}", self.columns, lines)
        if not self._same_task():
            theirs = "; ".join(f"alpha {a:g}: {iou}, {mean}" for a, (iou, mean) in TABLE_4.items())
            out += ["", f"*The paper, EAD-2019 (IOU, mAP):* {theirs}."]
        return out

    def comparison(self, dataset: str, columns: Mapping[str, str]) -> list[str]:
        """Table 6."""
        published = {"BIM" if name == "FGSM" else name: figures for name, figures in TABLE_6[dataset].items()}
        lines = [Line(CLEAN, self._clean(), published[CLEAN])]
        lines.append(Line(f"{NOISE}, {EQUAL_RADIUS}", self._row(NOISE, EQUAL_RADIUS), {}))
        for setting in self.settings:
            for attack in self.attacks:
                row = self._row(attack, setting)
                if row is not None:
                    lines.append(Line(f"{NAMES.get(attack, attack)}, {setting}", row, published.get(attack, {})))
        lines = [replace(line, published=_var_apart(line.published)) for line in lines]
        return table(f"Table 6: comparison, beside the paper's on {dataset}", {**columns, **VARIANCES}, lines)

    def readings(self, setting: str) -> list[str]:
        """Not in the paper: SMIA by the readings of Eq. 3 and 4 that were run."""
        found = {row.row.reading: row for row in self.rows if row.row.reading and self._setting_of(row) == setting}
        if not found:
            return []
        lines = [Line("DEV, without STA", self._row("BIM", setting), {})]
        lines += [Line(name, row, {}) for name, row in [(DEFAULT_READING, self._row("SMIA", setting)), *found.items()]]
        columns = {**self.columns, **{name: VARIANCES[name] for name in list(VARIANCES)[:2]}, "Cos(%)": "cos"}
        return table(f"Readings of Eq. 3 and 4 (target, smoothed, divergence), {setting}", columns, lines)

    @staticmethod
    def _setting_of(row: SummaryRow) -> str:
        return PAPER if row.row.as_the_paper else EQUAL_RADIUS

    def _clean(self) -> SummaryRow | None:
        return next((row for row in self.rows if row.row.is_clean), None)

    def _row(self, attack: str, setting: str, *, steps: int | None = None, factor: float = 1.0) -> SummaryRow | None:
        alike = [row for row in self.rows if (row.row.attack, row.row.setting) == (attack, setting)]
        if steps is not None:
            alike = [row for row in alike if row.row.steps == steps]
        return next((row for row in alike if is_of(row.row, factor * self.eps[row.row.as_the_paper])), None)

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
                figures = named(paper[value]) if value in paper else {}
                cells += [cell(row_of(attack), metric, figures.get(metric)) for metric in self.columns.values()]
            lines.append([NAMES.get(attack, attack), *cells])
        if not self._same_task():
            gap = [""] * (len(self.columns) - 1)
            for name, theirs in published.items():
                pairs = ["{}, {}".format(*theirs[value]) if value in theirs else "-" for value, _ in found]
                cells = [cell for pair in pairs for cell in (pair, *gap)]
                lines.append([f"*paper, EAD-2019 (IOU, mAP): {name}*", *cells])
        heads = [f"{value:g}: {name}" for value, _ in found for name in self.columns]
        return ["", f"### {title}", "", Table(["", *heads], lines).markdown()]


def _var_apart(published: Mapping[str, float]) -> dict[str, float]:
    """Published figures with Var in a column of its own."""
    return {THEIRS if name == OVER_REACH else name: value for name, value in published.items()}
