"""An index of many finished evaluations: of every data set, metric and radius a table, the most robust model first."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_smia.analysis.runs import Run
from monai_smia.files import write_text
from monai_smia.records.manifest import MANIFEST_FILE, hash_of
from monai_smia.records.spec import SPEC_FILE
from monai_smia.records.summary import AtRadius
from monai_smia.report.comparison import check_page, critical_of, link_of, names_of, radius_of, run_of
from monai_smia.report.content import report_content
from monai_smia.report.table import Table, cell, decimals_of, rounded, with_interval
from monai_smia.report.templates import rendered

HEADS = (
    *("run", "model", "clean", "attacked", "critical radius", "cases", "patients", "attacks", "gradients", "seconds"),
    *("flags", "weights", "evidence"),
)
Place = tuple[str, str, str, str, float, str]


@dataclass(frozen=True)
class Board:
    """The runs of one data set at one radius.

    Args:
        title: what they have in common.
        table: a line of every run, the most robust first.
    """

    title: str
    table: Table


def leaderboard(
    folders: Sequence[str | os.PathLike[str]], page: str | os.PathLike[str] = "index.html"
) -> tuple[list[Board], Path]:
    """Read finished evaluations, and write a page of them.

    Runs stand in one table where their cases (by the hashes of the files), headline metric, unit and radius are the
    same; others are not compared. A run of several radii stands in several tables.

    Args:
        folders: output folders, or folders that hold such at any depth.
        page: HTML file to write.

    Raises:
        FileNotFoundError: if a folder does not exist, or holds no evaluation.
        ValueError: if the page is a file of an evaluation.
        RecordVersionError: if one is of another version.
        DamagedRecordsError: if a file of one is not what the evaluation wrote.
    """
    paths = list(dict.fromkeys(path for folder in folders for path in _evaluations(Path(folder))))
    page = check_page(page, paths)
    lines: dict[Place, list[tuple[tuple[bool, float], list[str]]]] = {}
    for path, name in zip(paths, names_of(paths), strict=True):
        run = run_of(path, name)
        headline = run.summary.headline
        for radius in headline.radii if headline is not None else ():
            sign = -1 if headline is not None and headline.higher_is_better else 1
            key = (radius.attacked is None, sign * (radius.attacked or 0.0))
            lines.setdefault(_place(run, radius), []).append((key, _line(run, radius, path)))
    boards = [Board(place[-1], Table(HEADS, [line for _, line in sorted(lines[place])])) for place in sorted(lines)]
    links = [(name, link_of(path, page)) for path, name in zip(paths, names_of(paths), strict=True)]
    write_text(page, rendered("leaderboard.html.j2", boards=boards, links=links))
    return boards, page


def _evaluations(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} does not exist or is a file; give that of an evaluation.")
    found = sorted(path.parent for path in folder.rglob(SPEC_FILE))
    if not found:
        raise FileNotFoundError(f"folder {folder} holds no finished evaluation: no {SPEC_FILE} is there or below.")
    return found


def _place(run: Run, radius: AtRadius) -> Place:
    """What the runs of a board have in common, its title last."""
    inputs = sorted({f"{r.case} {r.provenance.input_sha256 if r.provenance else ''}" for r in run.records})
    data = hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:8]
    metric = run.summary.headline.metric if run.summary.headline is not None else ""
    cases = f"{len(inputs)} case{'' if len(inputs) == 1 else 's'}"
    title = f"{metric} at {radius_of(radius.eps_input, radius.norm, run.spec.unit)}, data {data} ({cases})"
    return metric, data, run.spec.unit, radius.norm or "", radius.eps_input or 0.0, title


def _line(run: Run, radius: AtRadius, path: Path) -> list[str]:
    content, summary = report_content(run.spec, run.summary, run.records), run.summary
    critical = [critical_of(found) for found in summary.critical_radii if found.norm == (radius.norm or "linf")]
    names = dict.fromkeys(label.partition(",")[0].partition(" ")[0] for label in radius.attacks)
    manifest = path / MANIFEST_FILE
    return [
        run.name,
        " ".join(part for part in (content.model.name, content.model.version) if part),
        rounded(None if summary.headline is None else summary.headline.clean, decimals_of(radius.interval)),
        with_interval(radius.attacked, radius.interval),
        *(critical or ["not sought"])[:1],
        *(str(radius.cases), str(radius.patients), ", ".join(names)),
        cell(run.gradients((radius.eps_input, radius.norm))),
        cell(float(round(summary.seconds))),
        ", ".join(dict.fromkeys(flag.name for flag in summary.flags)) or "none",
        (content.model.weights_sha256 or "unknown")[:12],
        hash_of(manifest)[:12] if manifest.is_file() else "no manifest",
    ]
