"""The page of an evaluation: one HTML file that opens from disk, needs no network and prints, and its JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from monai_smia.report.charts import NEEDS, charts
from monai_smia.report.content import report_content
from monai_smia.report.figures.selector import Pictures
from monai_smia.records.journal import replace_file
from monai_smia.report.tables import interval_text, meanings, report_tables
from monai_smia.analysis.summary import groups_of
from monai_smia.report.text_table import cell

if TYPE_CHECKING:
    from monai_smia.evaluation.runner import AttackEvaluation

Row = Mapping[str, Any]

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


def write_report(
    evaluation: AttackEvaluation, summary: Mapping[str, Any], records: Sequence[Mapping[str, Any]], pictures: Pictures
) -> Path:
    """Write ``report.json`` and ``report.html``.

    Args:
        evaluation: what was run.
        summary: as in ``summary.json``.
        records: all of them.
        pictures: where the pictures of the cases are.

    Returns:
        The path of the page.
    """
    folder = evaluation.output_dir
    content = report_content(evaluation, summary, records)
    replace_file(folder / "report.json", json.dumps(content, indent=2, allow_nan=False))
    shown = charts(groups_of(records), summary["rows"], content["primary"]["metric"])
    environment = Environment(
        loader=PackageLoader("monai_smia.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        c=content,
        unit=summary["unit"],
        headline=_headline(content, summary["unit"]),
        sections=SECTIONS,
        meanings=meanings(content),
        charts=shown,
        missing=[f"{title} ({needs})" for title, needs in NEEDS.items() if title not in {c.title for c in shown}],
        figures=_figures(content, pictures),
        t=report_tables(content, summary["unit"]),
    )
    replace_file(folder / "report.html", page)
    return folder / "report.html"


def _headline(content: Mapping[str, Any], unit: str) -> str:
    """Clean, and at the smallest and the largest radius under noise and under the worst attack."""
    if not content["worst_case"]:
        return ""
    name = content["primary"]["metric"]
    rows = [row for row in content["rows"] if row["stage"] == "computed" and row.get(name) is not None]
    clean = [f"{cell(row[name])} on clean images" for row in rows if row["attack"] == "Clean"]
    ends = content["worst_case"][:: max(len(content["worst_case"]) - 1, 1)]
    return f"Mean {name}: {'; '.join([*clean, *(_at_radius(content, rows, worst, unit) for worst in ends)])}."


def _at_radius(content: Mapping[str, Any], rows: Sequence[Row], worst: Row, unit: str) -> str:
    name = content["primary"]["metric"]
    within = [row for row in rows if (row["eps"], row["norm"]) == (worst["eps"], worst["norm"])]
    parts = [f"{cell(row[name])} under noise" for row in within if row["attack"] == "Noise"]
    if content["primary"]["case_metric"] == name and worst["mean"] is not None:
        parts.append(f"{cell(worst['mean'])}{interval_text(worst['interval'])} under the worst attack of every case")
    elif within:
        least = (min if content["primary"]["higher_is_better"] else max)(row[name] for row in within)
        parts.append(f"{cell(least)} under the strongest attack")
    radius = f"{worst['eps_input']:g} {unit} (eps {worst['eps']:g})" if unit else f"{worst['eps']:g}"
    return f"at radius {radius} {', '.join(parts)}"


def _figures(content: Mapping[str, Any], pictures: Pictures) -> list[tuple[str, list[tuple[str, str]]]]:
    """Of every attack the worst and the best case: what it is, and the picture."""
    shown = []
    for entry in content["extremes"]:
        ends = {}
        for end in ("best", "worst"):  # one case may be both, and is the worst
            ends[entry[end]["case"]] = f"{end} case: {entry[end]['case']} ({cell(float(entry[end]['value']))})"
        found = [(text, pictures.path(case, entry["slug"])) for case, text in reversed(ends.items())]
        data = [(text, base64.b64encode(p.read_bytes()).decode("ascii")) for text, p in found if p.is_file()]
        if data:
            shown.append((entry["row"], data))
    return shown
