"""The page of an evaluation: one HTML file that opens from disk, needs no network and prints, and its JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from monai_smia.evaluation.charts import charts
from monai_smia.evaluation.content import report_content, row_name
from monai_smia.evaluation.records import replace_file
from monai_smia.evaluation.summary import groups_of
from monai_smia.evaluation.table import cell, table_of

if TYPE_CHECKING:
    from monai_smia.evaluation.runner import AttackEvaluation

SECTIONS = (
    ("results", "Results"),
    ("worst", "Worst case"),
    ("survival", "After storage"),
    ("cases", "Cases"),
    ("use", "Intended use"),
    ("threat", "Threat model"),
    ("limits", "Limitations"),
    ("again", "To reproduce"),
)
Table = dict[str, list[Any]]


def write_report(
    evaluation: AttackEvaluation, summary: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> Path:
    """Write ``report.json`` and ``report.html``, with the figures that are in ``figures``.

    Args:
        evaluation: what was run.
        summary: as in ``summary.json``.
        records: all of them.

    Returns:
        The path of the page.
    """
    folder = evaluation.output_dir
    content = report_content(evaluation, summary, records)
    replace_file(folder / "report.json", json.dumps(content, indent=2, allow_nan=False))
    environment = Environment(
        loader=PackageLoader("monai_smia.evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        c=content,
        unit=summary["unit"],
        headline=_headline(content),
        sections=SECTIONS,
        main=_main_table(summary, content["primary"]["metric"]),
        charts=charts(groups_of(records), summary["rows"], content["primary"]["metric"]),
        figures=_figures(folder / "figures", content),
        **_tables(content),
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
        parts.append(f"{cell(worst['mean'])}{_interval(worst['interval'])} under the worst attack")
    else:
        known = [
            r[name] for r in rows if (r["eps"], r["stage"]) == (worst["eps"], "computed") and r.get(name) is not None
        ]
        least = (min if content["primary"]["higher_is_better"] else max)(known, default=None)
        parts += [] if least is None else [f"{cell(float(least))} under the strongest attack"]
    return f"Mean {name} at radius {worst['eps']:g}: {', '.join(parts)}."


def _main_table(summary: Mapping[str, Any], primary: str) -> Table:
    """One line per attack, as stored where it was stored: the headline metric first, intervals beside the means."""
    columns, _ = table_of(summary)
    identity = ("attack", "loss", "setting", "eps", "eps_input", "stage", "gradients")
    others = [n for n in columns if n not in identity and n != primary]
    stored = {row_name(row) for row in summary["rows"] if row["stage"] == "stored"}
    lines = []
    for row in summary["rows"]:
        if row["stage"] not in ("computed", "stored") or (row["stage"] == "computed" and row_name(row) in stored):
            continue
        intervals = row.get("intervals") or {}
        first = [
            _with_interval(row.get(primary), intervals.get(primary)),
            cell(row["eps_input"]),
            cell(row["gradients"]),
        ]
        name = row_name(row) + (", erased" if row.get("erased") else "")
        lines.append([name, *first, *(_with_interval(row.get(n), intervals.get(n)) for n in others)])
    unit = summary["unit"]
    radius = f"radius ({unit})" if unit else "radius"
    return {"heads": ["attack", primary, radius, "gradients", *others], "lines": lines}


def _tables(content: Mapping[str, Any]) -> dict[str, Table]:
    extremes = [
        [
            e["row"],
            f"{e['worst']['case']} ({cell(float(e['worst']['value']))})",
            f"{e['best']['case']} ({cell(float(e['best']['value']))})",
        ]
        for e in content["extremes"]
    ]
    worst = [
        [
            f"{w['norm']}, eps {w['eps']:g}",
            _with_interval(w["mean"], w["interval"]),
            w["cases"],
            "; ".join(f"{name}: {count}" for name, count in w["won"].items() if count) or "-",
        ]
        for w in content["worst_case"]
    ]
    differences = [
        [d["row"], d["minus"], _with_interval(d["difference"], d["interval"]), d["cases"]]
        for d in content["differences"]
    ]
    budget = [
        [
            row_name(b),
            cell(b["eps_input"]),
            cell(b["gradients"]),
            cell(b["most_gradients_of_setting"]),
            cell(b["seconds"]),
        ]
        for b in content["budget"]
    ]
    stages = list(dict.fromkeys(stage for s in content["survival"] for stage in s["after"]))
    survival = [
        [s["row"], cell(s["computed"]), cell(s["stored"]), s["erased"], *(cell(s["after"].get(n)) for n in stages)]
        for s in content["survival"]
    ]
    constraint = [
        [f"{k['row']}, {k['stage']}", k["norm"], cell(k["eps_input"]), cell(k["largest_change"])]
        for k in content["constraint"]
    ]
    return {
        "worst": {"heads": ["radius", content["primary"]["case_metric"], "cases", "worst by"], "lines": worst},
        "differences": {"heads": ["attack", "minus", "difference", "cases"], "lines": differences},
        "budget": {
            "heads": ["attack", "radius", "gradients", "most of its setting", "seconds a case"],
            "lines": budget,
        },
        "survival": {"heads": ["attack", "computed", "stored", "cases erased", *stages], "lines": survival},
        "constraint": {"heads": ["row", "norm", "radius", "largest change"], "lines": constraint},
        "extremes": {"heads": ["attack", "worst case", "best case"], "lines": extremes},
    }


def _figures(folder: Path, content: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Of the cases that were drawn the worst and the best two, with all of their pictures."""
    order = [e[end]["case"] for end in ("worst", "best") for e in content["extremes"]]
    names = list(dict.fromkeys([*order, *(entry["case"] for entry in content["data"]["inputs"])]))
    shown: list[tuple[str, list[tuple[str, str]]]] = []
    for case in names:
        pictures = sorted(folder.glob(f"{case}_*.png")) if folder.is_dir() else []
        if pictures and len(shown) < 4:
            data = [(p.stem[len(case) + 1 :], base64.b64encode(p.read_bytes()).decode("ascii")) for p in pictures]
            shown.append((case, data))
    return shown


def _interval(interval: Sequence[float] | None) -> str:
    return f" [{cell(float(interval[0]))}, {cell(float(interval[1]))}]" if interval else ""


def _with_interval(value: Any, interval: Sequence[float] | None) -> Markup:
    text = escape(cell(value))
    if value is None or not interval:
        return text
    return text + Markup("<small>{}</small>").format(_interval(interval))
