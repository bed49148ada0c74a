"""The rows of a summary as tables of plain text: every row, and what is left of the attacks."""

from __future__ import annotations

from collections.abc import Sequence

from monai_smia.metrics.structures import structure_of, structures_of
from monai_smia.records import COMPUTED, STORED, Stage, SummaryRow
from monai_smia.report.table import Table, cell

KEYS = ("attack", "loss", "setting", "eps", "eps_input", "stage", "gradients")
HIDDEN = (
    "l2",
    "cos_mean",
    "damage",
    "clean_damage",
    "added_damage",
    "frozen",
    "seconds",
    "planned_gradients",
    "zero_gradient_steps",
    "at_bound",
)


def summary_table(rows: Sequence[SummaryRow]) -> Table:
    """Every row with every metric worth a column; those of single structures have tables of their own."""
    every = [_cells(row) for row in rows]
    names = dict.fromkeys((*KEYS, *(name for row in rows for name in row.metrics)))
    structures = structures_of(names)
    shown = [name for name in names if name not in HIDDEN and structure_of(name, structures) is None]
    columns = [name for name in shown if any(cells.get(name) not in (None, "") for cells in every)]
    return Table(columns, [[cell(cells.get(name)) for name in columns] for cells in every])


def shown_metrics(rows: Sequence[SummaryRow]) -> list[str]:
    """Metrics worth a column that any row has."""
    return [name for name in summary_table(rows).heads if name not in KEYS]


def stage_text(row: SummaryRow) -> str:
    """The stage of a row, and whether the perturbation is below the file's quantization, of some cases or of all.

    Example:
        >>> from monai_smia.records import RowKey
        >>> [stage_text(SummaryRow(RowKey("BIM"), STORED, 2, below_quantization=n)) for n in (0, 1, 2)]
        ['stored', 'stored, 1 below quantization', 'stored, below quantization']
    """
    count = row.below_quantization
    if not count:
        return str(row.stage)
    return f"{row.stage}, below quantization" if count == row.cases else f"{row.stage}, {count} below quantization"


def survival_table(rows: Sequence[SummaryRow], primary: str) -> str:
    """For every attack the metric as computed and stored, and the recovered share after every degradation."""
    found = {(row.row, row.stage): row for row in rows}
    names = list(dict.fromkeys(row.stage.degradation for row in rows if row.stage.is_after))
    lines = []
    for row in rows:
        if row.stage != COMPUTED or row.row.is_clean:
            continue
        stored = found.get((row.row, STORED))
        after = [found.get((row.row, Stage.after(name))) for name in names]
        values = [row.value(primary), None if stored is None else stored.value(primary)]
        values += [None if each is None else each.value("recovered") for each in after]
        label = " ".join(part for part in (row.row.title, row.row.setting_label) if part)
        lines.append([label, f"{row.row.eps:g}", *("-" if value is None else f"{value:.3f}" for value in values)])
    head = f"Survival: {primary}, then the recovered share of the possible damage after the degradation"
    return f"{head}\n{Table(['attack', 'eps', 'computed', 'stored', *names], lines).text()}"


def _cells(row: SummaryRow) -> dict[str, object]:
    key = row.row
    own = {"attack": key.attack, "loss": key.loss, "setting": key.setting_label, "eps": key.eps}
    return {**row.metrics, **own, "eps_input": key.eps_input, "stage": stage_text(row)}
