"""The tables of a report: heads and formatted cells, made of its content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from monai_smia.analysis.comparisons import CaseOutcome
from monai_smia.analysis.summary import ENDS
from monai_smia.records import CLEAN, COMPUTED, STORED, SummaryRow
from monai_smia.records.record import is_size
from monai_smia.records.summary import Interval
from monai_smia.report.document import ReportContent
from monai_smia.report.shift_table import shift_tables
from monai_smia.report.summary_table import shown_metrics
from monai_smia.report.table import Table, cell, decimals_of, interval_text, length, rounded

LENGTHS = ("linf", "eps_file")  # metrics that are radii or changes
MAX_CASE_ROWS = 50  # lines of the table of cases; all of them are in cases.csv


def report_tables(content: ReportContent, unit: str) -> dict[str, Table]:
    """Every table of the page by its name.

    Args:
        content: of the report.
        unit: of the images.
    """
    return {
        **_row_tables(content, f"radius ({unit})" if unit else "radius"),
        "worst": _worst(content),
        "rounds": _rounds(content),
        "critical": _critical(content, unit),
        **shift_tables(content.shifts, content.certificates),
        "strata": _strata(content),
        "differences": _differences(content),
        "damage": _damage(content),
        "attacks": _attacks(content),
        "survival": _survival(content),
        "constraint": _constraint(content),
        "cases": _cases(content),
    }


def _row_tables(content: ReportContent, radius: str) -> dict[str, Table]:
    """One line per attack, as stored where it was stored: task metrics, those per class, sizes of perturbations."""
    primary = content.primary.metric
    names = shown_metrics(content.rows)
    every = dict.fromkeys(name for row in content.rows for name in row.metrics)
    per_class = [n for n in every if n.startswith(f"{primary}_") and not n.endswith(ENDS)]
    sizes = [n for n in names if is_size(n)]
    task = [primary, *(n for n in names if n not in (primary, *per_class, *sizes))]
    shown = shown_rows(content)
    attacked = [row for row in shown if not row.row.is_clean]

    def line(row: SummaryRow, columns: Sequence[str]) -> list[Any]:
        return [row_cell(row, name) for name in columns]

    main = [
        [row_name(r), *line(r, [primary]), _n(content, r), length(r.row.eps_input), *line(r, task[1:])] for r in shown
    ]
    return {
        "main": Table(["attack", primary, "cases", radius, *task[1:]], main),
        "classes": Table(
            ["attack", *(n.removeprefix(f"{primary}_") for n in per_class)],
            [[row_name(r), *line(r, per_class)] for r in shown] if len(per_class) > 1 else [],
        ),
        "sizes": Table(
            ["attack", "cases changed", *sizes],
            [[row_name(r), f"{r.cases - r.unchanged} of {r.cases}", *line(r, sizes)] for r in attacked],
        ),
    }


def _worst(content: ReportContent) -> Table:
    lines = [
        [
            f"{worst.norm}, eps {worst.eps:g}",
            _with_interval(worst.mean, worst.interval, worst.listed),
            _counts(content, worst.cases, worst.patients),
            worst.wrong_when_clean,
            worst.unbroken,
            "; ".join(f"{name}: {count}" for name, count in worst.won.items() if count) or "-",
        ]
        for worst in content.worst_case
    ]
    heads = ["radius", content.primary.case_metric, "cases", "wrong when clean", "broken by none"]
    return Table([*heads, "worst by (cases, ties count for all)"], lines)


def _rounds(content: ReportContent) -> Table:
    """What the attacks of a radius leave after every doubling of the gradients."""
    lines = [
        [f"{radius.norm}, eps {radius.eps:g}", each.round, f"{each.gradients:g}", cell(each.attacked)]
        for radius in content.convergence
        for each in radius.rounds
    ]
    return Table(["radius", "round", "gradients a case", content.primary.metric], lines)


def _critical(content: ReportContent, unit: str) -> Table:
    """The critical radius of every case, the smallest first."""
    lines = []
    for found in content.critical_radii:
        for case in found.cases[:MAX_CASE_ROWS]:
            if case.eps is None:
                told = [f"none up to {length(found.largest_input)}", f"none up to {length(found.largest)}"]
            else:
                told = [f"at most {length(case.eps_input)}", f"at most {length(case.eps)}"]
            lines.append([case.case, case.patient, found.norm, *told, case.by or "-"])
    radius = f"radius ({unit})" if unit else "radius"
    return Table(["case", content.data.sampled, "norm", radius, "eps", "found by"], lines)


def _damage(content: ReportContent) -> Table:
    """Clean damage, which is no attack's, beside that under attack and what the attack added."""
    heads = ["attack", "stage", "cases", "clean damage", "damage", "added", "wrong when clean", "left alone"]
    lines = [
        [d.row, d.stage, d.cases, *map(cell, (d.clean, d.attacked, d.added)), d.wrong_when_clean, d.unchanged]
        for d in content.damage
    ]
    return Table(heads, lines)


def _strata(content: ReportContent) -> Table:
    lines = [[f"{s.name}: {s.value}", s.cases, cell(s.clean), cell(s.worst)] for s in content.data.strata]
    return Table(["stratum", "cases", "clean", "worst attack"], lines)


def _differences(content: ReportContent) -> Table:
    """One line per attack, a column for each of what it is compared with."""
    cases = {e.row: _counts(content, e.cases, e.patients) for e in reversed(content.differences)}
    found: dict[str, dict[bool, Markup]] = {row: {} for row in dict.fromkeys(d.row for d in content.differences)}
    for entry in content.differences:
        p = "" if entry.p_adjusted is None else f", p {entry.p_adjusted:.3f}"
        found[entry.row][entry.minus == CLEAN] = _with_interval(entry.difference, entry.interval) + p
    lines = [[row, ends.get(True, "-"), ends.get(False, "-"), cases[row]] for row, ends in found.items()]
    return Table(["attack", "minus clean", "minus SMIA of this radius", "cases"], lines)


def _attacks(content: ReportContent) -> Table:
    """Every attack: what it was allowed, and what it took."""
    took = {costs.row.label: costs for costs in content.costs}
    lower = any(a.get("precision") for a in content.attacks)
    heads = ["radius", "norm", "steps", "step", "random start", "restarts", "ends at damage", "seed"]
    lines = []
    for a in content.attacks:
        costs = took.get(a["row"])
        goal = [a["norm"], cell(a["steps"]), length(a["step_size"]), _yes(a["random_start"]), cell(a["restarts"])]
        names = ("queries", "gradients", "most_gradients_of_setting", "seconds")
        spent = [getattr(costs, name, None) for name in names]
        own = [cell(a["stop_at"]), cell(a["seed"]), *([a.get("precision") or "full"] if lower else [])]
        lines.append([a["row"], length(a["eps_input"]), *goal, *own, *map(cell, spent)])
    heads += [*(["precision"] if lower else []), "queries", "gradients", "most of its setting", "seconds a case"]
    return Table(["attack", *heads], lines)


def _survival(content: ReportContent) -> Table:
    stages = list(dict.fromkeys(stage for entry in content.survival for stage in entry.after))
    intervals = {(row.row.label, str(row.stage)): row.interval(content.primary.metric) for row in content.rows}

    def figure(row: str, value: float | None, stage: str) -> str:
        return rounded(value, decimals_of(intervals.get((row, stage))))

    lines = [
        [
            *(s.row, figure(s.row, s.computed, str(COMPUTED)), figure(s.row, s.stored, str(STORED))),
            *(s.below_quantization, *(figure(s.row, s.after.get(stage), stage) for stage in stages)),
        ]
        for s in content.survival
    ]
    return Table(["attack", "computed", "stored", "cases below quantization", *stages], lines)


def _constraint(content: ReportContent) -> Table:
    lines = []
    for row in dict.fromkeys(entry.row for entry in content.constraint):
        stages = {entry.stage: entry for entry in content.constraint if entry.row == row}
        computed, stored = (stages.get(str(stage)) for stage in (COMPUTED, STORED))
        changes = [length(None if entry is None else entry.largest_change) for entry in (computed, stored)]
        share = None if computed is None else computed.at_bound
        bound = "-" if share is None else f"{100 * share:.1f} %"
        some = next(iter(stages.values()))
        lines.append([row, some.norm, length(some.eps_input), *changes, bound])
    heads = ["attack", "norm", "radius", "largest change, computed", "stored", "voxels at the bound"]
    return Table(heads, lines)


def _cases(content: ReportContent) -> Table:
    inputs = {entry["case"]: (entry["sha256"] or "-")[:12] for entry in content.data.inputs}
    lines = [
        [c.case, c.patient, cell(c.clean), cell(c.worst), cell(c.difference), "; ".join(c.by), inputs.get(c.case, "-")]
        for c in most_damaged(content)[:MAX_CASE_ROWS]
    ]
    return Table(["case", content.data.sampled, "clean", "worst", "difference", "by", "input (SHA-256)"], lines)


def most_damaged(content: ReportContent) -> list[CaseOutcome]:
    """The cases that an attack broke, the most damaged first."""
    return [case for case in content.cases if case.by]


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _n(content: ReportContent, row: SummaryRow) -> str:
    return _counts(content, row.cases, row.patients)


def _counts(content: ReportContent, cases: int, patients: int) -> str:
    """Number of cases, and of patients where it is known whose they are."""
    return f"{cases} of {patients} patients" if content.data.sampled == "patient" else str(cases)


def shown_rows(content: ReportContent) -> list[SummaryRow]:
    """One row per attack, as stored where it was stored; of a plan in rounds those of its last."""
    stored = {row.row for row in content.rows if row.stage == STORED}
    last = max((row.row.round or 0 for row in content.rows), default=0)
    rows = [row for row in content.rows if row.row.round in (None, last)]
    return [row for row in rows if row.stage == (STORED if row.row in stored else COMPUTED)]


def row_name(row: SummaryRow) -> str:
    """Name of a row in tables."""
    return row.row.label + (", below quantization" if row.below_quantization else "")


def row_cell(row: SummaryRow, name: str) -> Markup:
    """A metric of a row, with what it is of where that is not all cases."""
    if name.startswith(LENGTHS) and row.interval(name) is None:
        text = Markup(length(row.value(name)))
    else:
        text = _with_interval(row.value(name), row.interval(name), row.listed.get(name, ()))
    known = row.known.get(name)
    if known is None or row.value(name) is None:
        return text
    return text + Markup("<small>of {} cases</small>").format(known[0])


def _with_interval(value: Any, interval: Interval, listed: Sequence[float] = ()) -> Markup:
    """A value with its interval, or with the values that it is the mean of."""
    text = escape(rounded(value, decimals_of(interval)))
    if value is None or not (interval or len(listed) > 1):
        return text
    told = interval_text(interval) if interval else f" mean of {', '.join(map(cell, listed))}"
    return text + Markup("<small>{}</small>").format(told)
