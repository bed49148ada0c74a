"""The rows of a summary as tables of plain text: the attacks, and what is left of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai_smia.metrics.structures import structure_of, structures_of
from monai_smia.records import COMPUTED, STORED, Stage, SummaryRow
from monai_smia.records.record import is_size
from monai_smia.records.rows import EQUAL_RADIUS
from monai_smia.report.table import Table, decimals_of, rounded
from monai_smia.units import in_unit

WIDTH = 100  # characters of a line
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
    "queries",  # beside the gradients
)


def summary_table(rows: Sequence[SummaryRow], primary: str, *, width: int = WIDTH) -> Table:
    """One line per attack, the stored one merged into the computed one where the digits shown are the same.

    Of a plan in rounds the last one is shown. The headline metric comes first, and as many others as fit; setting,
    radius and stage are columns where they tell lines apart. Figures have the decimals that their intervals give, as on
    the page.

    Args:
        rows: of the summary.
        primary: headline metric.
        width: characters of a line, at most.

    Example:
        >>> from monai_smia.records import RowKey
        >>> bim = RowKey("BIM", "equal radius", eps=0.05, eps_input=70.0, unit="HU")
        >>> rows = [SummaryRow(RowKey(), COMPUTED, 1, {"dice": 0.9})]
        >>> rows += [SummaryRow(bim, stage, 1, {"dice": 0.25}) for stage in (COMPUTED, STORED)]
        >>> print(summary_table(rows, "dice").text())
        attack at 70 HU   dice
        Clean            0.900
        BIM              0.250
    """
    last = max((row.row.round or 0 for row in rows), default=0)
    shown = [row for row in rows if row.stage in (COMPUTED, STORED) and row.row.round in (None, last)]
    metrics = _by_importance(shown, primary)
    radii = list(dict.fromkeys(_radius(row) for row in shown if not row.row.is_clean))
    settings = {_setting(row) for row in shown if not row.row.is_clean}
    head = f"attack at {radii[0]}" if len(radii) == 1 else "attack"
    table = _table(head, shown, metrics[:1], settings=len(settings) > 1, radii=len(radii) > 1)
    chosen = metrics[:1]
    for name in metrics[1:]:
        wider = _table(head, shown, [*chosen, name], settings=len(settings) > 1, radii=len(radii) > 1)
        splits = len(wider.lines) > len(table.lines)  # what a file rounds to is no reason for two lines
        if wider.width <= width and not (splits and is_size(name)):
            chosen, table = [*chosen, name], wider
    return table


def _table(head: str, rows: Sequence[SummaryRow], metrics: Sequence[str], *, settings: bool, radii: bool) -> Table:
    lines: dict[tuple[Any, ...], list[str]] = {}  # a row with the cells of its line, and the stages that have them
    for row in rows:
        key = [row.row.title, *[_setting(row)] * settings, *[_radius(row)] * radii]
        text = "" if row.below_quantization == 0 else stage_text(row)
        values = [text, *(_figure(row, name) for name in metrics)]
        lines.setdefault((row.row, *key, *values), []).append(text or str(row.stage))
    both = {str(COMPUTED), str(STORED)}
    stages = ["" if set(found) == both else ", ".join(found) for found in lines.values()]
    told = any(stage not in ("", str(COMPUTED)) for stage in stages)
    heads = [head, *["setting"] * settings, *["radius"] * radii, *["stage"] * told, *metrics]
    keys = 2 + settings + radii
    cells = [
        [*line[1:keys], *[stage or "both"] * told, *line[keys + 1 :]] for line, stage in zip(lines, stages, strict=True)
    ]
    return Table(heads, cells)


def _figure(row: SummaryRow | None, name: str) -> str:
    """A value with the decimals that its interval gives, as the page has it."""
    return "-" if row is None else rounded(row.value(name), decimals_of(row.interval(name)))


def _by_importance(rows: Sequence[SummaryRow], primary: str) -> list[str]:
    """The headline metric, gradients, those of the task, of its classes, and sizes of perturbations."""
    names = shown_metrics(rows)
    of_classes = [name for name in names if name.startswith(f"{primary}_")]
    sizes = [name for name in names if is_size(name)]
    task = [name for name in names if name not in (primary, *of_classes, *sizes)]
    asked = any(row.value("queries") for row in rows) and not any(row.value("gradients") for row in rows)
    gradients = ["queries" if asked else "gradients"] * any(row.value("gradients") is not None for row in rows)
    return [*[primary] * (primary in names), *gradients, *task, *of_classes, *sizes]


def _setting(row: SummaryRow) -> str:
    """The setting, where it is not the usual one of equal radii."""
    return "" if row.row.round is not None or row.row.setting == EQUAL_RADIUS else row.row.setting_label


def _radius(row: SummaryRow) -> str:
    key = row.row
    if key.eps is None:
        return "-"
    text = in_unit(key.eps_input, key.unit) if key.unit else f"eps {key.eps:g}"
    return text if key.norm in (None, "linf") else f"{text} {key.norm.replace('l', 'L')}"


def shown_metrics(rows: Sequence[SummaryRow]) -> list[str]:
    """Metrics worth a column that any row has; those of single structures have tables of their own."""
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    structures = structures_of(names)
    worth = [name for name in names if name not in HIDDEN and structure_of(name, structures) is None]
    return [name for name in worth if name != "gradients" and any(row.value(name) is not None for row in rows)]


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
        values = [*(_figure(each, primary) for each in (row, stored)), *(_figure(each, "recovered") for each in after)]
        label = " ".join(part for part in (row.row.title, row.row.setting_label) if part)
        lines.append([label, f"{row.row.eps:g}", *values])
    head = f"Survival: {primary}, then the recovered share of the possible damage after the degradation"
    return f"{head}\n{Table(['attack', 'eps', 'computed', 'stored', *names], lines).text()}"
