"""The page of an evaluation: one HTML file that opens from disk, needs no network and prints, and its JSON."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from monai_smia.analysis import groups_of
from monai_smia.files import write_text
from monai_smia.records import EvaluationSpec, Flag, Outcome, Summary, check_seal, read_records
from monai_smia.records.summary import AtRadius, Headline
from monai_smia.report.case_table import case_table
from monai_smia.report.charts import NEEDS, charts
from monai_smia.report.content import report_content
from monai_smia.report.document import ReportContent
from monai_smia.report.figures.selector import figure_path
from monai_smia.report.structure_tables import MAX_STRUCTURES, structure_metrics, structure_tables
from monai_smia.report.table import cell, interval_text
from monai_smia.report.tables import metric_descriptions, most_damaged, report_tables
from monai_smia.report.verdicts import verdict_text

SECTIONS = (
    ("results", "Results"),
    ("structures", "Structures"),
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
        DamagedRecordsError: if one of these files is not what the evaluation wrote.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} does not exist or is a file; give that of an evaluation.")
    spec, summary, records = EvaluationSpec.read(folder), Summary.read(folder), read_records(folder)
    check_seal(folder)
    return make_report(folder, spec, summary, records)


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
    shown = charts(groups_of(outcomes), summary.rows, content.primary.metric, summary.headline)
    titles = {chart.title for chart in shown}
    structures = structure_tables(content)
    headline = headline_text(summary.headline, spec.unit, spec.sampled, summary.flags)
    environment = Environment(
        loader=PackageLoader("monai_smia.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        c=content,
        unit=spec.unit,
        headline=headline,
        sections=[section for section in SECTIONS if structures or section[0] != "structures"],
        descriptions=metric_descriptions(content, structure_metrics(content)),
        structures=structures,
        max_structures=MAX_STRUCTURES,
        charts=shown,
        missing=[f"{title} ({needs})" for title, needs in NEEDS.items() if title not in titles],
        figures=_figures(content, folder / "figures"),
        broken=len(most_damaged(content)),
        verdicts=[(verdict.met, verdict_text(verdict, content.flags)) for verdict in content.criteria],
        t=report_tables(content, spec.unit),
    )
    write_text(folder / "report.html", page)
    return Report(folder / "report.html", headline)


def headline_text(headline: Headline | None, unit: str, sampled: str = "case", flags: Sequence[Flag] = ()) -> str:
    """Clean, and at the smallest and the largest radius under noise and under attack; every figure with its n.

    Whether more gradients would move it, and the reasons not to trust it, are part of it.

    Args:
        headline: of the summary.
        unit: of the images.
        sampled: ``"patient"`` where it is known whose the cases are.
        flags: reasons not to trust it.

    Example:
        >>> from monai_smia.records.summary import AtRadius
        >>> radius = AtRadius(0.05, 70.0, "linf", 0.875, 0.25, [0.125, 0.5], 12, 8, ["FGSM", "PGD"], ["PGD"])
        >>> text = headline_text(Headline("jaccard", 0.9, True, [radius], 12, 8), "HU", "patient")
        >>> text.partition("; ")[2].partition(", 0.250 ")[2]
        '[0.125, 0.500] under the worst of 2 attacks on every case, most often PGD (12 cases of 8 patients).'
    """
    if headline is None:
        return ""
    count = _count_text(headline.clean_cases, headline.clean_patients, sampled)
    clean = [] if headline.clean is None else [f"{cell(headline.clean)} on clean images ({count})"]
    ends = headline.radii[:: max(len(headline.radii) - 1, 1)]
    parts = [*clean, *(_radius_text(end, headline.by_case, unit, sampled) for end in ends)]
    text = f"Mean {headline.metric}: {'; '.join(parts)}.{_reads_safer(headline, unit)}"
    return f"{text}{_convergence_text(headline, unit)}{_flags_text(flags)}"


def _convergence_text(headline: Headline, unit: str) -> str:
    """Whether the figures stood still while the gradients doubled, where they did."""
    asked = [radius for radius in headline.radii if radius.converged is not None]
    moving = [radius for radius in asked if not radius.converged]
    if not asked:
        return ""
    if not moving:
        most = max(radius.moved or 0.0 for radius in asked)
        return (
            f" Converged: the last doubling of the gradients moved it by {most:.3f} (tolerance {headline.tolerance:g})."
        )
    told = ", ".join(
        f"at {radius_text(radius, unit)} by {'an unknown amount' if radius.moved is None else f'{radius.moved:.3f}'}"
        for radius in moving
    )
    return (
        f" Not converged: the last doubling of the gradients moved it {told} (tolerance {headline.tolerance:g}): "
        "give more."
    )


def _flags_text(flags: Sequence[Flag]) -> str:
    """The flags that fired, by their names."""
    names = list(dict.fromkeys(flag.name for flag in flags))
    return f" Do not trust it as it stands, the network may be weaker: {', '.join(names)}." if names else ""


def _radius_text(end: AtRadius, by_case: bool, unit: str, sampled: str) -> str:
    parts = [] if end.noise is None else [f"{cell(end.noise)} under noise"]
    if end.attacked is not None:
        listed = f" (mean of {', '.join(map(cell, end.listed))})" if len(end.listed) > 1 else ""
        by, count = _by_text(end, by_case), _count_text(end.cases, end.patients, sampled)
        parts.append(f"{cell(end.attacked)}{interval_text(end.interval) or listed} under {by} ({count})")
    return f"at radius {radius_text(end, unit)} {', '.join(parts)}"


def _by_text(end: AtRadius, by_case: bool) -> str:
    """The attacks that the figure is by."""
    names = [label.removesuffix(f", eps {end.eps:g}") for label in end.by]
    if len(end.attacks) == 1 and names:
        return f"the only attack, {names[0]}"
    told = "all of them alike" if len(names) == len(end.attacks) > 1 else " and ".join(names)
    if not by_case:
        return f"the strongest attack{f', {told}' if told else ''}"
    often = told if told.startswith("all") else f"most often {told}"
    count = len({re.sub(r", round \d+", "", label) for label in end.attacks})
    attacks = f"{count} attack{'' if count == 1 else 's'}"
    rounds = f" in {len(end.rounds)} rounds" if len(end.rounds) > 1 else ""
    return f"the worst of {attacks}{rounds} on every case{f', {often}' if told else ''}"


def radius_text(radius: AtRadius, unit: str) -> str:
    """A radius in the unit of the images and in network units, with its norm where that is not L-inf."""
    text = f"{radius.eps_input:g} {unit} (eps {radius.eps:g})" if unit else f"{radius.eps:g}"
    return text if radius.norm in (None, "linf") else f"{text} in {radius.norm.replace('l', 'L')}"


def _count_text(cases: int, patients: int, sampled: str) -> str:
    text = f"{cases} case{'' if cases == 1 else 's'}"
    return f"{text} of {patients} patient{'' if patients == 1 else 's'}" if sampled == "patient" else text


def _reads_safer(headline: Headline, unit: str) -> str:
    """Why a larger radius reads as safer than a smaller one, where it does: which attacks were run there."""
    sign = 1 if headline.higher_is_better else -1
    for small, large in itertools.pairwise(headline.radii):
        known = small.attacked is not None and large.attacked is not None and small.norm == large.norm
        if known and sign * (large.attacked or 0.0) > sign * (small.attacked or 0.0):
            return (
                f" Radius {radius_text(large, unit)} reads as safer than {radius_text(small, unit)}, and is not: its "
                f"attacks are weaker ({', '.join(large.attacks)}; at the smaller one {', '.join(small.attacks)})."
            )
    return ""


def _figures(content: ReportContent, folder: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    """Of every attack the worst and the best case: what it is, and the picture."""
    shown = []
    for entry in content.extremes:
        ends = {}
        for end, case in (("best", entry.best), ("worst", entry.worst)):  # one case may be both, and is the worst
            if case is not None:
                ends[case.case] = f"{end} case: {case.case} ({cell(float(case.value))})"
        found = [(text, figure_path(folder, case, entry.slug)) for case, text in reversed(ends.items())]
        data = [(text, base64.b64encode(p.read_bytes()).decode("ascii")) for text, p in found if p.is_file()]
        if data:
            shown.append((entry.row, data))
    return shown
