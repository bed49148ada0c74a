"""What of an evaluation follows from its records, made once more of them: the summary, the tables, the page."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from monai_smia import __version__
from monai_smia.analysis import flags_of, groups_of, summarize
from monai_smia.analysis.certificates import certificate_flags, certificates_of
from monai_smia.analysis.critical_radius import critical_radii
from monai_smia.analysis.headline import headline_of
from monai_smia.analysis.shifts import shift_gaps
from monai_smia.analysis.summary import failed_cases, shift_groups_of
from monai_smia.evaluation.facts import source_commit
from monai_smia.records import EvaluationSpec, Failure, Outcome, Record, Summary, current, read_journals
from monai_smia.report.html import MADE, report_files

JOURNAL_LOG = "monai_smia.records.journal"
CLOSE = 1e-9
PICTURE = re.compile(r"data:image/(?:png|webp);base64,([A-Za-z0-9+/=]+)")
SOFTWARE = "Software"  # what a chart says that it was drawn with


def check_derived(
    folder: Path, spec: EvaluationSpec, summary: Summary, outcomes: list[Outcome]
) -> tuple[list[str], list[str]]:
    """What does not follow from the records, and what could not be compared, in sentences.

    Args:
        folder: of the evaluation.
        spec, summary, outcomes: as read from it.
    """
    other = _other_state(spec, outcomes)
    wrong = [*_journal(folder, spec, outcomes), *_summary(spec, summary, outcomes)]
    found, notes = _made(folder, spec, summary, outcomes, other)
    if not _headline_follows(spec, summary, outcomes):
        if other:
            notes.append(f"the headline is not what this monai_smia makes of the records, and was made by {other}.")
        else:
            wrong.append("summary.json: headline does not follow from the records.")
    return wrong + found, notes


def _headline_follows(spec: EvaluationSpec, summary: Summary, outcomes: list[Outcome]) -> bool:
    if summary.headline is None:
        return True
    found = headline_of(groups_of(outcomes), summary.rows, spec.primary, summary.headline.tolerance)
    return same(_plain(summary.headline), _plain(found))


def _journal(folder: Path, spec: EvaluationSpec, outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Records are those of the journal, which every process wrote as it went; a damaged line of it holds nothing."""
    logger = logging.getLogger(JOURNAL_LOG)
    before, logger.disabled = logger.disabled, True  # what is damaged is told by the manifest
    try:
        lines = current(read_journals(folder / "journal"))
    finally:
        logger.disabled = before
    slugs = {row.row.slug for row in spec.rows}
    written = {
        _canonical(o): (o.case, key) for keys in lines.values() for key, line in keys.items() for o in line.outcomes
    }
    there = {_canonical(outcome): outcome for outcome in outcomes}
    for text, outcome in there.items():
        if text not in written:
            yield f"records.jsonl: {_told(outcome)} is not what the journal says."
    cases = {outcome.case for outcome in there.values()}
    for case in lines.keys() - cases:
        yield f"records.jsonl holds nothing of case {case}, which is in the journal."
    for text, (case, key) in written.items():
        if case in cases and key in slugs and text not in there and key in lines[case]:
            yield f"records.jsonl lacks a record of case {case}, row {key}, which is in the journal."


def _summary(spec: EvaluationSpec, summary: Summary, outcomes: list[Outcome]) -> Iterator[str]:
    """All of the summary but what the task's own metrics say of many cases, for which they are needed."""
    groups = groups_of(outcomes)
    clean = [record for group in groups if group.row.is_clean for record in group.records]
    shifts = shift_groups_of(outcomes)
    certificates = certificates_of(shifts, spec.primary)
    share = next((found.share for found in summary.critical_radii), None)
    expected: dict[str, Any] = {
        "unit": spec.unit,
        "evaluated": summary.cases - len(failed_cases(outcomes)),
        "cases": len({outcome.case for outcome in outcomes}),
        "failures": [outcome for outcome in outcomes if isinstance(outcome, Failure)],
        "seconds": sum(outcome.costs.seconds or 0.0 for outcome in outcomes if isinstance(outcome, Record)),
        "flags": [*flags_of(groups), *certificate_flags(certificates)],
        "critical_radii": critical_radii(groups) if share is None else critical_radii(groups, share),
        "shifts": shift_gaps(shifts, spec.primary, clean),
        "certificates": certificates,
    }
    for name, value in expected.items():
        if not same(_plain(getattr(summary, name)), _plain(value)):
            yield f"summary.json: {name} does not follow from the records."
    rows = {(row.row.slug, str(row.stage)): row for row in summarize(outcomes)}
    if [(row.row.slug, str(row.stage)) for row in summary.rows] != list(rows):
        yield "summary.json: its rows are not those of the records."
        return
    for row in summary.rows:
        mean = rows[row.row.slug, str(row.stage)]
        counts = ("cases", "patients", "below_quantization", "wrong_when_clean", "unchanged")
        wrong = [name for name in counts if getattr(row, name) != getattr(mean, name)]
        wrong += [n for n, value in mean.metrics.items() if n in row.metrics and not same(row.metrics[n], value)]
        if wrong:
            yield f"summary.json: {', '.join(wrong)} of {row.row.label}, {row.stage}, are not the means of the records."


def _made(
    folder: Path, spec: EvaluationSpec, summary: Summary, outcomes: list[Outcome], other: str
) -> tuple[list[str], list[str]]:
    """Tables, page and draft, made once more; charts of another Matplotlib are other bytes, and are not compared."""
    try:
        made = str(json.loads((folder / "report.json").read_text(encoding="utf-8"))["made"])
        _, texts = report_files(folder, spec, summary, outcomes, made)
    except Exception as error:  # of contents that nobody has written
        return [f"the page cannot be made of the records: {type(error).__name__}: {error}."], []
    wrong, notes = [], []
    for name in MADE:
        text = (folder / name).read_bytes().decode(errors="replace") if (folder / name).is_file() else None
        if text is None:
            wrong.append(f"{name} is missing.")
        elif text != texts[name] and other:
            notes.append(f"{name} is not what this monai_smia makes of the records, and was made by {other}.")
        elif PICTURE.sub("", text) != PICTURE.sub("", texts[name]):
            wrong.append(f"{name} is not what the records make here.")
        elif text != texts[name]:
            drawn, here = _software(text), _software(texts[name])
            if drawn is not None and drawn != here:
                notes.append(f"the charts in {name} were drawn by another Matplotlib, and were not compared.")
            else:
                wrong.append(f"the pictures in {name} are not those that the records make here.")
    return wrong, notes


def _other_state(spec: EvaluationSpec, outcomes: Iterable[Outcome]) -> str:
    """Which other state of this package has made the page; empty where it was this one."""
    told = next((outcome.provenance.versions for outcome in outcomes if outcome.provenance is not None), "")
    here = source_commit()
    if f"monai_smia {__version__}" in told.split(", ") and spec.commit == here:
        return ""
    version = next((part for part in told.split(", ") if part.startswith("monai_smia")), "an unknown version")
    return f"{version}, commit {spec.commit} (here {__version__}, {here})"


def same(one: Any, other: Any) -> bool:
    """Whether two values of JSON are alike, numbers to nine digits.

    Example:
        >>> same({"a": [1.0, None]}, {"a": [1.0 + 1e-12, None]}), same({"a": 1.0}, {"a": 1.1})
        (True, False)
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) or isinstance(other, float):
        numbers = all(isinstance(v, (int, float)) for v in (one, other))
        return numbers and (one == other or abs(one - other) <= CLOSE * max(abs(one), abs(other)))
    return bool(one == other)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, Failure):
        return value.to_json()
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _canonical(outcome: Outcome) -> str:
    return json.dumps(outcome.to_json(), sort_keys=True)


def _told(outcome: Outcome) -> str:
    if isinstance(outcome, Record):
        return f"{outcome.case}, {outcome.row.label}, {outcome.stage}"
    return f"the failure of {outcome.case}"


def _software(text: str) -> set[str] | None:
    """What the pictures in a page were drawn with; None where one is none."""
    found = set()
    for data in PICTURE.findall(text):
        try:
            with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
                found.add(str(picture.info.get(SOFTWARE, "")))
        except (OSError, SyntaxError, ValueError):  # what Pillow calls a broken file
            return None
    return found
