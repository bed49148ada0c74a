"""The page of an evaluation: one HTML file that opens from disk, needs no network and prints, and its JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from monai_smia.analysis import groups_of
from monai_smia.files import write_text
from monai_smia.records import EvaluationSpec, Outcome, Summary, check_seal, read_records
from monai_smia.records.manifest import update_manifest
from monai_smia.report import instructions
from monai_smia.report.album import Album, Picture
from monai_smia.report.case_table import case_table
from monai_smia.report.certificate_table import bracket_chart, certificate_text
from monai_smia.report.charts import NEEDS, charts
from monai_smia.report.content import report_content
from monai_smia.report.descriptions import metric_descriptions
from monai_smia.report.document import ReportContent
from monai_smia.report.figures.selector import figure_path
from monai_smia.report.sentences import critical_radius_text, headline_figure, headline_text
from monai_smia.report.shift_table import shift_pictures, shift_text
from monai_smia.report.showcase import showcase
from monai_smia.report.structure_tables import MAX_STRUCTURES, structure_metrics, structure_tables
from monai_smia.report.table import cell
from monai_smia.report.tables import most_damaged, report_tables
from monai_smia.report.templates import rendered
from monai_smia.report.verdicts import verdict_text

SECTIONS = (
    ("results", "Results"),
    ("structures", "Structures"),
    ("worst", "Worst case"),
    ("shifts", "Acquisition shifts"),
    ("survival", "After storage"),
    ("cases", "Cases"),
    ("use", "Model and data"),
    ("threat", "Threat model"),
    ("limits", "Limitations"),
    ("again", "To reproduce"),
)


FIRST = ("Over the radius", "Cases that hold", "Over the number of gradients")  # charts that are not folded
PANELS = (  # of a volume: what each picture is, and its layers from the lowest up
    ("Clean, with its errors", ("clean", "before", "reference")),
    ("Attacked", ("adversarial", "reference")),
    ("Attacked, with what the attack changed", ("adversarial", "changed", "reference")),
    ("Perturbation", ("perturbation",)),
)
FILES = (  # beside the page, which names them
    *("cases.csv", "report.json", "summary.json", "records.jsonl", instructions.FILE),
    *("volumes", "photographs"),
)
MADE = ("cases.csv", "report.json", instructions.FILE, "report.html")  # of the records, and made anew of them


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
        folder: output folder of the evaluation; `MADE` are written there.

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
    report = make_report(folder, spec, summary, records)
    update_manifest(folder, MADE)
    return report


def make_report(folder: Path, spec: EvaluationSpec, summary: Summary, outcomes: Sequence[Outcome]) -> Report:
    """Write `MADE`.

    Args:
        folder: where to; pictures are taken from its ``figures``.
        spec: what was planned.
        summary: what was found.
        outcomes: all of them.
    """
    headline, texts = report_files(folder, spec, summary, outcomes)
    for name, text in texts.items():
        write_text(folder / name, text)
    return Report(folder / "report.html", headline)


def report_files(
    folder: Path, spec: EvaluationSpec, summary: Summary, outcomes: Sequence[Outcome], made: str | None = None
) -> tuple[str, dict[str, str]]:
    """The headline in a sentence, and the texts of `MADE`; nothing is written.

    Args:
        folder: that pictures are taken from.
        spec: what was planned.
        summary: what was found.
        outcomes: all of them.
        made: when, as the report says it; None for now.
    """
    content = report_content(spec, summary, outcomes)
    content = content if made is None else replace(content, made=made)
    shown = charts(groups_of(outcomes), summary.rows, content.primary.metric, summary.headline, summary.critical_radii)
    titles = {chart.title for chart in shown}
    structures = structure_tables(content)
    optional = {"structures": structures, "shifts": summary.shifts or summary.certificates}
    sentences = [headline_text(summary.headline, spec.unit, spec.sampled, summary.flags)]
    sentences += [critical_radius_text(found, spec.unit, spec.sampled) for found in summary.critical_radii]
    sentences += [shift_text(summary.shifts), *(certificate_text(found) for found in summary.certificates)]
    headline = " ".join(part for part in sentences if part)
    cases, bracket = showcase(content, folder / "figures"), bracket_chart(summary.certificates, summary.shifts)
    album = Album(folder)
    album.reserve(chart.png for chart in (*shown, bracket) if chart is not None)
    album.reserve(json.dumps(case.slices) if case.slices else case.png for case in cases)
    page = rendered(
        "report.html.j2",
        c=content,
        unit=spec.unit,
        headline=headline,
        figure=headline_figure(summary.headline, spec.unit),
        showcase=cases,
        panels=PANELS,
        first=FIRST,
        files=[name for name in FILES if name in MADE or (folder / name).exists()],
        decisions=any((folder / "volumes").glob("*_decision_*")),
        instructions=instructions.FILE,
        sections=[s for s in SECTIONS if optional.get(s[0], True)],
        descriptions=metric_descriptions(content, structure_metrics(content)),
        structures=structures,
        max_structures=MAX_STRUCTURES,
        charts=shown,
        missing=[f"{title} ({needs})" for title, needs in NEEDS.items() if title not in titles],
        bracket=bracket,
        shift_pictures=shift_pictures(summary.shifts, folder / "figures", album),
        figures=_figures(content, folder / "figures", album),
        broken=len(most_damaged(content)),
        verdicts=[(verdict.met, verdict_text(verdict, content.flags)) for verdict in content.criteria],
        t=report_tables(content, spec.unit),
    )
    text = instructions.instructions_text(content, outcomes, spec.unit, headline)
    document = json.dumps(content.to_json(), indent=2, allow_nan=False)
    return headline, dict(zip(MADE, (case_table(outcomes).csv(), document, text, page), strict=True))


def _figures(content: ReportContent, folder: Path, album: Album) -> list[tuple[str, list[Picture]]]:
    """Of every attack the worst and the best case; all of the worst go into the album before the best."""
    found: list[tuple[str, list[tuple[str, Path]]]] = []
    for entry in content.extremes:
        ends = {}
        for end, case in (("best", entry.best), ("worst", entry.worst)):  # one case may be both, and is the worst
            if case is not None:
                ends[case.case] = f"{end} case: {case.case} ({cell(float(case.value))})"
        files = [(text, figure_path(folder, case, entry.slug)) for case, text in reversed(ends.items())]
        found.append((entry.row, [(text, path) for text, path in files if path.is_file()]))
    taken: dict[str, list[Picture]] = {row: [] for row, files in found if files}
    for place in (0, 1):
        for row, files in found:
            taken.get(row, []).extend(album.picture(*each) for each in files[place : place + 1])
    return list(taken.items())
