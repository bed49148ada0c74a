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
from monai_smia.files import write_text
from monai_smia.records import EvaluationSpec, Outcome, Summary, read_records
from monai_smia.records.summary import AtRadius, Headline
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
    headline = headline_text(summary.headline, spec.unit)
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


def headline_text(headline: Headline | None, unit: str) -> str:
    """Clean, and at the smallest and the largest radius under noise and under attack, in one sentence.

    Example:
        >>> from monai_smia.records.summary import AtRadius
        >>> radius = AtRadius(0.05, 70.0, "linf", 0.875, 0.25, [0.125, 0.5], 12)
        >>> headline_text(Headline("jaccard", 0.9, True, [radius]), "HU").partition("; ")[2]
        'at radius 70 HU (eps 0.05) 0.875 under noise, 0.250 [0.125, 0.500] under the worst attack of every case.'
    """
    if headline is None:
        return ""
    clean = [] if headline.clean is None else [f"{cell(headline.clean)} on clean images"]
    ends = headline.radii[:: max(len(headline.radii) - 1, 1)]
    by = "the worst attack of every case" if headline.by_case else "the strongest attack"
    return f"Mean {headline.metric}: {'; '.join([*clean, *(_radius_text(end, by, unit) for end in ends)])}."


def _radius_text(end: AtRadius, by: str, unit: str) -> str:
    parts = [] if end.noise is None else [f"{cell(end.noise)} under noise"]
    if end.attacked is not None:
        parts.append(f"{cell(end.attacked)}{interval_text(end.interval)} under {by}")
    radius = f"{end.eps_input:g} {unit} (eps {end.eps:g})" if unit else f"{end.eps:g}"
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
