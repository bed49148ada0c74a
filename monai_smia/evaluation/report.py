"""The page of an evaluation: one HTML file that opens from disk, needs no network and prints, and its JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from monai_smia.evaluation.charts import NEEDS, charts
from monai_smia.evaluation.content import report_content
from monai_smia.evaluation.pictures import Pictures
from monai_smia.evaluation.records import replace_file
from monai_smia.evaluation.report_tables import interval_text, meanings, report_tables
from monai_smia.evaluation.summary import groups_of
from monai_smia.evaluation.table import cell

if TYPE_CHECKING:
    from monai_smia.evaluation.runner import AttackEvaluation

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
        loader=PackageLoader("monai_smia.evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        c=content,
        unit=summary["unit"],
        headline=_headline(content),
        sections=SECTIONS,
        meanings=meanings([content["primary"]["case_metric"], *(n for row in summary["rows"] for n in row)]),
        charts=shown,
        missing=[f"{title} ({needs})" for title, needs in NEEDS.items() if title not in {c.title for c in shown}],
        figures=_figures(content, pictures),
        t=report_tables(content, summary["unit"]),
    )
    replace_file(folder / "report.html", page)
    return folder / "report.html"


def _headline(content: Mapping[str, Any]) -> str:
    """Clean, under the strongest attack within the smallest radius, and under noise of that size."""
    name, rows = content["primary"]["metric"], content["rows"]
    clean = next((row.get(name) for row in rows if row["attack"] == "Clean"), None)
    if not content["worst_case"]:
        return ""
    worst = min(content["worst_case"], key=lambda entry: entry["eps"])
    noise = [r.get(name) for r in rows if (r["attack"], r["eps"], r["stage"]) == ("Noise", worst["eps"], "computed")]
    parts = [] if clean is None else [f"{cell(float(clean))} on clean images"]
    parts += [f"{cell(float(value))} under noise" for value in noise[:1] if value is not None]
    if content["primary"]["case_metric"] == name and worst["mean"] is not None:
        parts.append(f"{cell(worst['mean'])}{interval_text(worst['interval'])} under the worst attack")
    else:
        known = [
            r[name] for r in rows if (r["eps"], r["stage"]) == (worst["eps"], "computed") and r.get(name) is not None
        ]
        least = (min if content["primary"]["higher_is_better"] else max)(known, default=None)
        parts += [] if least is None else [f"{cell(float(least))} under the strongest attack"]
    return f"Mean {name} at radius {worst['eps']:g}: {', '.join(parts)}."


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
