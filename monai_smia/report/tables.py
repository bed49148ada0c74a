"""The tables of a report: heads and formatted cells, made of its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from monai_smia.analysis.comparisons import row_name
from monai_smia.analysis.summary import ENDS
from monai_smia.report.text_table import COLUMNS, cell, table_of

Table = dict[str, list[Any]]
Content = Mapping[str, Any]

LONGEST = 50  # lines of the table of cases; all of them are in cases.csv
SIZES = ("linf", "var", "rms", "cos", "ssim", "psnr")
MEANINGS = {
    "accuracy": "share of right decisions; of a segmentation the mean over classes of the share of voxels found",
    "auc": "area under the ROC curve, mean over classes",
    "cos": "percentage of consecutive steps of the attack that point the same way",
    "damage": "what the attack has broken: wrong decision, 1 - Jaccard, or share of objects no longer found (1: all)",
    "dice": "overlap with the reference, twice the intersection over the sum (1: the same)",
    "fpr": "share of healthy cases that are called diseased",
    "fpr_macro": "share of other classes' cases that are called this one, mean over classes",
    "hd95": "95th percentile of the distance between the two surfaces, in mm (pixels without a spacing)",
    "iou": "mean over objects of the overlap with the best box of their class",
    "jaccard": "overlap with the reference, intersection over union (1: the same)",
    "kappa": "quadratic weighted kappa, agreement with the reference beyond chance (1: complete)",
    "linf": "largest change of a voxel, in the image's unit",
    "map": "average precision, mean over classes and over IoU thresholds from .5 to .95",
    "map50": "average precision at an IoU of .5, mean over classes",
    "psnr": "peak signal-to-noise ratio to the clean image, in dB",
    "rms": "root mean square of the perturbation over the radius",
    "ssim": "structural similarity to the clean image (1: the same)",
    "var": "variance of the perturbation over the squared radius",
}


def report_tables(content: Content, unit: str) -> dict[str, Table]:
    """Every table of the page by its name.

    Args:
        content: the report's JSON.
        unit: of the images.
    """
    return {
        **_row_tables(content, f"radius ({unit})" if unit else "radius"),
        "worst": _worst(content),
        "strata": _strata(content),
        "differences": _differences(content),
        "attacks": _attacks(content),
        "survival": _survival(content),
        "constraint": _constraint(content),
        "cases": _cases(content),
    }


def meanings(content: Content) -> list[tuple[str, str]]:
    """What the metrics are that a reader meets, of those that are known here."""
    named = [content["primary"]["case_metric"], *table_of(content)[0]]
    return [(name, MEANINGS[name]) for name in dict.fromkeys(named) if name in MEANINGS]


def interval_text(interval: Sequence[float] | None) -> str:
    """An interval in brackets, nothing where there is none."""
    return f" [{cell(float(interval[0]))}, {cell(float(interval[1]))}]" if interval else ""


def _row_tables(content: Content, radius: str) -> dict[str, Table]:
    """One line per attack, as stored where it was stored: task metrics, those per class, sizes of perturbations."""
    primary, rows = content["primary"]["metric"], content["rows"]
    names = [n for n in table_of(content)[0] if n not in COLUMNS]
    per_class = [n for n in names if n.startswith(f"{primary}_") and not n.endswith(ENDS)]
    sizes = [n for n in names if n in SIZES]
    task = [primary, *(n for n in names if n not in (primary, *per_class, *sizes))]
    stored = {row_name(row) for row in rows if row["stage"] == "stored"}
    shown = [r for r in rows if r["stage"] == ("stored" if row_name(r) in stored else "computed")]
    attacked = [row for row in shown if row["attack"] != "Clean"]

    def line(row: Mapping[str, Any], columns: Sequence[str]) -> list[Any]:
        intervals = row.get("intervals") or {}
        return [_with_interval(row.get(name), intervals.get(name)) for name in columns]

    def name(row: Mapping[str, Any]) -> str:
        return row_name(row) + (", erased" if row.get("erased") else "")

    main = [[name(r), *line(r, [primary]), cell(r["eps_input"]), *line(r, task[1:])] for r in shown]
    return {
        "main": {"heads": ["attack", primary, radius, *task[1:]], "lines": main},
        "classes": {
            "heads": ["attack", *(n.removeprefix(f"{primary}_") for n in per_class)],
            "lines": [[name(r), *line(r, per_class)] for r in shown] if per_class else [],
        },
        "sizes": {"heads": ["attack", *sizes], "lines": [[name(r), *line(r, sizes)] for r in attacked]},
    }


def _worst(content: Content) -> Table:
    lines = [
        [
            f"{w['norm']}, eps {w['eps']:g}",
            _with_interval(w["mean"], w["interval"]),
            w["cases"],
            "; ".join(f"{name}: {count}" for name, count in w["won"].items() if count) or "-",
        ]
        for w in content["worst_case"]
    ]
    return {"heads": ["radius", content["primary"]["case_metric"], "cases", "worst by (cases)"], "lines": lines}


def _strata(content: Content) -> Table:
    lines = [
        [f"{s['name']}: {s['value']}", s["cases"], cell(s["clean"]), cell(s["worst"])]
        for s in content["data"]["strata"]
    ]
    return {"heads": ["stratum", "cases", "clean", "worst attack"], "lines": lines}


def _differences(content: Content) -> Table:
    """One line per attack, a column for each of what it is compared with."""
    found: dict[str, dict[str, Any]] = {}
    for d in content["differences"]:
        reference = "clean" if d["minus"] == "Clean" else "SMIA"
        entry = found.setdefault(d["row"], {"cases": d["cases"]})
        entry[reference] = _with_interval(d["difference"], d["interval"])
    lines = [[row, e.get("clean", "-"), e.get("SMIA", "-"), e["cases"]] for row, e in found.items()]
    return {"heads": ["attack", "minus clean", "minus SMIA of this radius", "cases"], "lines": lines}


def _attacks(content: Content) -> Table:
    """What every attack was allowed, and what it took."""
    took = {row_name(b): b for b in content["budget"]}
    heads = ["radius", "norm", "steps", "step", "random start", "restarts", "ends at damage", "seed"]
    lines = []
    for a in content["attacks"]:
        budget = took.get(a["row"], {})
        goal = [a["norm"], cell(a["steps"]), cell(a["step_size"]), _yes(a["random_start"]), cell(a["restarts"])]
        spent = [cell(budget.get(n)) for n in ("gradients", "most_gradients_of_setting", "seconds")]
        lines.append([a["row"], cell(a["eps_input"]), *goal, cell(a["stop_at"]), cell(a["seed"]), *spent])
    return {"heads": ["attack", *heads, "gradients", "most of its setting", "seconds a case"], "lines": lines}


def _survival(content: Content) -> Table:
    stages = list(dict.fromkeys(stage for s in content["survival"] for stage in s["after"]))
    lines = [
        [s["row"], cell(s["computed"]), cell(s["stored"]), s["erased"], *(cell(s["after"].get(n)) for n in stages)]
        for s in content["survival"]
    ]
    return {"heads": ["attack", "computed", "stored", "cases erased", *stages], "lines": lines}


def _constraint(content: Content) -> Table:
    found: dict[str, dict[str, Any]] = {}
    for k in content["constraint"]:
        found.setdefault(k["row"], {"norm": k["norm"], "radius": k["eps_input"]})[k["stage"]] = k
    lines = []
    for row, entry in found.items():
        ends = [entry.get(stage, {}) for stage in ("computed", "stored")]
        changes = [cell(end.get("largest_change")) for end in ends]
        share = ends[0].get("at_bound")
        bound = "-" if share is None else f"{100 * share:.1f} %"
        lines.append([row, entry["norm"], cell(entry["radius"]), *changes, bound])
    heads = ["attack", "norm", "radius", "largest change, computed", "stored", "voxels at the bound"]
    return {"heads": heads, "lines": lines}


def _cases(content: Content) -> Table:
    inputs = {entry["case"]: entry["sha256"] for entry in content["data"]["inputs"]}
    lines = [
        [c["case"], c["patient"], cell(c["clean"]), cell(c["worst"]), cell(c["difference"]), c["by"]]
        + [(inputs.get(c["case"]) or "-")[:12]]
        for c in content["cases"][:LONGEST]
    ]
    return {"heads": ["case", "patient", "clean", "worst", "difference", "by", "input (SHA-256)"], "lines": lines}


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _with_interval(value: Any, interval: Sequence[float] | None) -> Markup:
    text = escape(cell(value))
    if value is None or not interval:
        return text
    return text + Markup("<small>{}</small>").format(interval_text(interval))
