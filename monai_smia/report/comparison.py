"""Finished evaluations on one page: models side by side, with their differences case by case."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_smia.analysis import groups_of
from monai_smia.analysis.runs import CLEAN, Run, other_cases, run_differences, uneven
from monai_smia.files import write_text
from monai_smia.records import EvaluationSpec, Summary, check_seal, read_records
from monai_smia.records.critical_radius import CriticalRadii
from monai_smia.records.manifest import is_evidence
from monai_smia.records.summary import Headline
from monai_smia.report.content import report_content
from monai_smia.report.table import Table, cell, decimals_of, interval_text, length, rounded, with_interval
from monai_smia.report.templates import rendered
from monai_smia.units import in_unit


@dataclass(frozen=True)
class Comparison:
    """Runs beside each other.

    Args:
        runs: a line of every run: its model, weights, clean and attacked figures, critical radius, cost.
        pairs: of every run minus the first one.
        warnings: what keeps the figures from being compared.
        path: of the page.
    """

    runs: Table
    pairs: Table
    warnings: list[str]
    path: Path


def compare(folders: Sequence[str | os.PathLike[str]], page: str | os.PathLike[str] = "comparison.html") -> Comparison:
    """Compare finished evaluations, and write a page of them.

    Args:
        folders: output folders of at least two evaluations; differences are those to the first one.
        page: HTML file to write.

    Raises:
        ValueError: if there are fewer than two, one twice, or they cannot be compared, or the page is a file of one.
        FileNotFoundError: if one does not exist.
        RecordVersionError: if one is no evaluation of this version.
        DamagedRecordsError: if a file of one is not what the evaluation wrote.
    """
    paths = [Path(folder) for folder in folders]
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise ValueError(
            f"folders must be those of at least two evaluations, each once, got {', '.join(map(str, paths))}."
        )
    page = check_page(page, paths)
    runs = [run_of(path, name) for path, name in zip(paths, names_of(paths), strict=True)]
    pairs = _pairs(runs)
    warnings = [*other_cases(runs), *uneven(runs), *(text for run in runs for text in _flags(run))]
    made = Comparison(_table(runs), pairs, warnings, page)
    text = rendered(
        "comparison.html.j2",
        names=[run.name for run in runs],
        metric=runs[0].primary.metric,
        runs=made.runs,
        pairs=made.pairs,
        warnings=warnings,
        links=[(run.name, link_of(path, page)) for run, path in zip(runs, paths, strict=True)],
    )
    write_text(page, text)
    return made


def run_of(path: Path, name: str) -> Run:
    """A finished evaluation, checked by its seal."""
    if not path.is_dir():
        raise FileNotFoundError(f"folder {path} does not exist or is a file; give that of an evaluation.")
    spec, summary, records = EvaluationSpec.read(path), Summary.read(path), read_records(path)
    check_seal(path)
    return Run(name, spec, summary, groups_of(records))


def check_page(page: str | os.PathLike[str], folders: Sequence[Path]) -> Path:
    """The page to write, which must be no file of an evaluation: that would be evidence no more.

    Raises:
        ValueError: if it is one.
    """
    path = Path(page)
    if any(is_evidence(path, folder) for folder in folders):
        raise ValueError(f"page must be another file than those of the evaluations, got {path}.")
    return path


def _flags(run: Run) -> list[str]:
    names = ", ".join(dict.fromkeys(flag.name for flag in run.summary.flags))
    return [f"{run.name}: do not trust its figures as they stand, {names}."] if names else []


def names_of(paths: Sequence[Path]) -> list[str]:
    """The last folders of the paths that tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("paths are different")


def link_of(path: Path, page: Path) -> str:
    """The report of a folder, as a page names it."""
    return Path(os.path.relpath(path.resolve() / "report.html", page.resolve().parent)).as_posix()


def radius_of(eps: float | None, norm: str | None, unit: str) -> str:
    """A radius in the unit of the images, with its norm where that is not L-inf."""
    text = in_unit(length(eps), unit)
    return text if norm in (None, "linf") else f"{text} in {norm.replace('l', 'L')}"


def _table(runs: Sequence[Run]) -> Table:
    radii = list(dict.fromkeys(radius for run in runs for radius in run.radii))
    radii.sort(key=lambda radius: (radius[1] or "", radius[0] or 0.0))
    unit = runs[0].spec.unit
    heads = ["run", "model", "weights", "cases", "clean", *(radius_of(*radius, unit) for radius in radii)]
    heads += [f"critical radius{f' ({unit})' if unit else ''}", "gradients", "seconds"]
    return Table(heads, [_line(run, radii) for run in runs])


def _line(run: Run, radii: Sequence[tuple[float | None, str | None]]) -> list[str]:
    headline = run.summary.headline
    content = report_content(run.spec, run.summary, run.records)
    at = {} if headline is None else {(r.eps_input, r.norm): r for r in headline.radii}
    attacked = [at.get(radius) for radius in radii]
    told = ["-" if r is None else with_interval(r.attacked, r.interval) for r in attacked]
    critical = [critical_of(found) for found in run.summary.critical_radii if found.norm in (None, "linf")]
    return [
        *(run.name, content.model.name, (content.model.weights_sha256 or "unknown")[:12], str(run.summary.evaluated)),
        clean_of(headline),
        *(
            *told,
            *(critical or ["not sought"])[:1],
            cell(run.gradients()),
            cell(float(round(run.summary.seconds))),
        ),
    ]


def critical_of(found: CriticalRadii) -> str:
    """The median critical radius, in words."""
    if found.median_input is None:
        return f"more than {length(found.largest_input)}"
    ends = [end for end in found.interval_input or () if end is not None]
    decimals = decimals_of(ends) if len(ends) == 2 and found.median_input >= 0.01 else None
    return f"at most {length(found.median_input) if decimals is None else rounded(found.median_input, decimals)}"


def clean_of(headline: Headline | None) -> str:
    """The figure of the clean images, with the decimals of the one beside it, at the largest radius."""
    if headline is None:
        return "-"
    return rounded(headline.clean, decimals_of(headline.radii[-1].interval) if headline.radii else None)


def _pairs(runs: Sequence[Run]) -> Table:
    unit = runs[0].spec.unit
    heads = ["run", "images", f"mean difference of {runs[0].primary.metric}", "95 % interval", "cases", "patients", "p"]
    lines = [
        [
            each.run,
            CLEAN if each.at == CLEAN else f"worst case at {radius_of(each.eps_input, each.norm, unit)}",
            rounded(each.difference, decimals_of(each.interval), "+"),
            interval_text(each.interval).strip() or "too few patients",
            *(str(each.cases), str(each.patients)),
            "-" if each.p_adjusted is None else f"{each.p_adjusted:.3f}",
        ]
        for each in run_differences(runs)
    ]
    return Table(heads, lines)
