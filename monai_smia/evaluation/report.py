"""The table and the page of an evaluation."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment

from monai_smia.evaluation.table import table_of

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
