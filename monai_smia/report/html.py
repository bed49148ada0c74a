"""The page of an evaluation: one HTML file that opens from disk, needs no network and prints, and its JSON."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from monai_smia.analysis import groups_of
from monai_smia.analysis.comparisons import WorstCase
from monai_smia.files import write_text
from monai_smia.records import COMPUTED, EvaluationSpec, Outcome, Summary, SummaryRow, read_records
from monai_smia.report.case_table import case_table
from monai_smia.report.charts import NEEDS, charts
from monai_smia.report.content import ReportContent, report_content
from monai_smia.report.figures.selector import figure_path
from monai_smia.report.table import cell, interval_text
from monai_smia.report.tables import metric_descriptions, report_tables

SECTIONS = (
    ("results", "Results"),
    ("worst", "Worst case"),
    ("survival", "After storage"),
    ("cases", "Cases"),
    ("use", "Model and data"),
    ("threat", "Threat model"),
    ("limits", "Limitations"),
    ("again", "To reproduce"),
)


@dataclass(frozen=True)
class Report:
    """A report that is written.

    Args:
        path: of the page.
        headline: one sentence with the figures that matter most; empty without an attack.
    """

    path: Path
    headline: str


def write_report(folder: str | os.PathLike[str]) -> Report:
    """Make the report of a finished evaluation anew, from ``spec.json``, ``summary.json`` and ``records.jsonl``.

    Args:
        folder: output folder of the evaluation; ``report.html``, ``report.json`` and ``cases.csv`` are written there.

    Raises:
        FileNotFoundError: if there is no such folder.
        RecordVersionError: if another version has written it.
    """
    folder = Path(folder)
    return make_report(folder, EvaluationSpec.read(folder), Summary.read(folder), read_records(folder))


def make_report(folder: Path, spec: EvaluationSpec, summary: Summary, outcomes: Sequence[Outcome]) -> Report:
    """Write ``cases.csv``, ``report.json`` and ``report.html``.

    Args:
        folder: where to; pictures are taken from its ``figures``.
        spec: what was planned.
        summary: what was found.
        outcomes: all of them.
    """
    write_text(folder / "cases.csv", case_table(outcomes).csv())
    content = report_content(spec, summary, outcomes)
    write_text(folder / "report.json", json.dumps(content.to_json(), indent=2, allow_nan=False))
    shown = charts(groups_of(outcomes), summary.rows, content.primary.metric)
    titles = {chart.title for chart in shown}
    headline = headline_of(content, spec.unit)
    environment = Environment(
        loader=PackageLoader("monai_smia.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        c=content,
        unit=spec.unit,
        headline=headline,
        sections=SECTIONS,
        descriptions=metric_descriptions(content),
        charts=shown,
        missing=[f"{title} ({needs})" for title, needs in NEEDS.items() if title not in titles],
        figures=_figures(content, folder / "figures"),
        t=report_tables(content, spec.unit),
    )
    write_text(folder / "report.html", page)
    return Report(folder / "report.html", headline)


def headline_of(content: ReportContent, unit: str) -> str:
    """Clean, and at the smallest and the largest radius under noise and under the worst attack."""
    if not content.worst_case:
        return ""
    name = content.primary.metric
    rows = [row for row in content.rows if row.stage == COMPUTED and row.value(name) is not None]
    clean = [f"{cell(row.value(name))} on clean images" for row in rows if row.row.is_clean]
    ends = content.worst_case[:: max(len(content.worst_case) - 1, 1)]
    return f"Mean {name}: {'; '.join([*clean, *(_at_radius(content, rows, worst, unit) for worst in ends)])}."


def _at_radius(content: ReportContent, rows: Sequence[SummaryRow], worst: WorstCase, unit: str) -> str:
    name = content.primary.metric
    within = [row for row in rows if (row.row.eps, row.row.norm) == (worst.eps, worst.norm)]
    parts = [f"{cell(row.value(name))} under noise" for row in within if row.row.attack == "Noise"]
    if content.primary.case_metric == name and worst.mean is not None:
        parts.append(f"{cell(worst.mean)}{interval_text(worst.interval)} under the worst attack of every case")
    elif within:
        least = (min if content.primary.higher_is_better else max)(row.metrics[name] or 0.0 for row in within)
        parts.append(f"{cell(least)} under the strongest attack")
    radius = f"{worst.eps_input:g} {unit} (eps {worst.eps:g})" if unit else f"{worst.eps:g}"
    return f"at radius {radius} {', '.join(parts)}"


def _figures(content: ReportContent, folder: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    """Of every attack the worst and the best case: what it is, and the picture."""
    shown = []
    for entry in content.extremes:
        ends = {}
        for end, case in (("best", entry.best), ("worst", entry.worst)):  # one case may be both, and is the worst
            ends[case.case] = f"{end} case: {case.case} ({cell(float(case.value))})"
        found = [(text, figure_path(folder, case, entry.slug)) for case, text in reversed(ends.items())]
        data = [(text, base64.b64encode(p.read_bytes()).decode("ascii")) for text, p in found if p.is_file()]
        if data:
            shown.append((entry.row, data))
    return shown
