"""The table and the page of an evaluation."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment

COLUMNS = ("attack", "loss", "setting", "eps", "eps_input", "stage", "gradients")
HIDDEN = ("unit", "norm", "steps", "cases", "l2", "cos_mean")

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Robustness under attack</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ccc; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
</style>
</head>
<body>
<h1>Robustness under attack</h1>
<p>{{ cases - failures|length }} of {{ cases }} cases evaluated; means over cases. The perturbation of a row stays
within eps (in network units; eps_input in {{ unit or "the image's unit" }}). Rows marked <em>stored</em> were written
to a file, read back and predicted again. Research use only; whether a figure is good enough is for the reader to
say.</p>
{% if failures %}<h2>Cases that failed</h2>
<ul>{% for failure in failures %}<li>{{ failure.case }}: {{ failure.reason }}</li>{% endfor %}</ul>{% endif %}
<h2>Results</h2>
<div><table>
<thead><tr>{% for name in columns %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table></div>
<h2>Cases</h2>
{% for name, data in figures %}<h3>{{ name }}</h3>
<img alt="Clean image, perturbation and adversarial image of {{ name }} under every attack"
 src="data:image/png;base64,{{ data }}">
{% endfor %}
</body>
</html>
"""


def table_of(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Column names and formatted cells of a summary's rows; columns without any value are left out."""
    rows = summary["rows"]
    names = dict.fromkeys((*COLUMNS, *(name for row in rows for name in row)))
    columns = [n for n in names if n not in HIDDEN and any(row.get(n) not in (None, "") for row in rows)]
    return columns, [[_cell(row.get(name)) for name in columns] for row in rows]


def format_table(summary: Mapping[str, Any]) -> str:
    """The rows as plain text."""
    columns, table = table_of(summary)
    widths = [max(len(line[i]) for line in (columns, *table)) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in (columns, *table)
    )


def write_report(folder: Path, summary: Mapping[str, Any]) -> Path:
    """Write ``report.html``, one self-contained page with the table and the figures in ``folder/figures``."""
    columns, table = table_of(summary)
    pictures = sorted((folder / "figures").glob("*.png"))
    figures = [(p.stem, base64.b64encode(p.read_bytes()).decode("ascii")) for p in pictures]
    page = (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            columns=columns,
            table=table,
            figures=figures,
            cases=summary["cases"],
            failures=summary["failures"],
            unit=summary["unit"],
        )
    )
    path = folder / "report.html"
    partial = folder / ".report.html"
    partial.write_text(page, encoding="utf-8")
    os.replace(partial, path)
    return path


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if value.is_integer():
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
