"""Acquisition shifts in a report: the sentence, the table, and the pictures of each one's worst case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_smia.records.certificate import ShiftCertificate
from monai_smia.records.shift import ShiftGap
from monai_smia.report.album import Album, Picture
from monai_smia.report.certificate_table import certificate_table
from monai_smia.report.figures.selector import figure_path
from monai_smia.report.table import Table, cell, with_interval

PERCENT = "volume_change_percent"


def shift_text(gaps: Sequence[ShiftGap]) -> str:
    """What acquisition shifts do on average and at their worst, in sentences; empty where there are none.

    Args:
        gaps: of the summary.

    Example:
        >>> told = (0.95, 0.93, 0.61, None, None, 1, 1, 20, 0.61, 0.8, 0.86, "a", "rotation 3.1 degrees", "s")
        >>> shift_text([ShiftGap("RigidMotion", 3, False, "jaccard", True, *told)]).partition("at worst, ")[2]
        'by RigidMotion (rotation 3.1 degrees), a gap of 0.320; 0.950 clean.'
    """
    drawn = [gap for gap in gaps if not gap.every_value and gap.gap is not None]
    parts = []
    for level in sorted({gap.severity for gap in drawn}):
        at = [gap for gap in drawn if gap.severity == level]
        average = sum(gap.average or 0.0 for gap in at) / len(at)
        worst = (min if at[0].higher_is_better else max)(at, key=lambda gap: gap.worst or 0.0)
        gap = average - (worst.worst or 0.0)
        parts.append(
            f"Acquisition shifts of severity {level} ({len(at)} of them): {worst.metric} {cell(average)} on average "
            f"and {cell(worst.worst)} at worst, by {worst.shift} ({worst.told}), a gap of "
            f"{cell((gap if worst.higher_is_better else -gap) + 0.0)}; {cell(worst.clean)} clean."
        )
    parts += [proof_text(gap) for gap in gaps if gap.every_value and gap.lowest is not None]
    return " ".join(parts)


def proof_text(gap: ShiftGap) -> str:
    """What is proven of a finite set, in a sentence."""
    side = "below" if gap.higher_is_better else "above"
    cases = "this case" if gap.cases == 1 else f"any of these {gap.cases} cases"
    whole = bool(gap.lattice) and all(part.split()[-2] == "1" for part in gap.lattice.split(", "))
    values = "whole values" if whole else f"values (steps of {gap.lattice})" if gap.lattice else "values"
    return (
        f"Proof by trying all {gap.draws} {values}: no {gap.shift} in the box of severity {gap.severity} brings "
        f"{cases} {side} {gap.metric} {cell(gap.lowest)} ({gap.told})."
    )


def shift_tables(gaps: Sequence[ShiftGap], certificates: Sequence[ShiftCertificate]) -> dict[str, Table]:
    """The tables of shifts by their names.

    Args:
        gaps: of the summary.
        certificates: of the summary.
    """
    return {"shifts": shift_table(gaps), "certificates": certificate_table(certificates)}


def shift_table(gaps: Sequence[ShiftGap]) -> Table:
    """One line per shift: clean, on average, at its worst, and the parameters of the worst case.

    Args:
        gaps: of the summary.
    """
    volume = next((name for gap in gaps for name in gap.changes if name.startswith(PERCENT)), None)
    lines = []
    for gap in gaps:
        average = with_interval(gap.average, gap.average_interval)
        worst = with_interval(gap.worst, gap.worst_interval)
        kept = "proof" if gap.every_value else "-"
        if gap.kept is not None and gap.kept_share is not None:
            kept = f"{100 * gap.kept_share:.0f} % of {gap.draws}: {cell(gap.kept)}"
        ends = gap.changes.get(volume or "", [None, None])
        both = " / ".join("-" if end is None else f"{round(end, 1) + 0.0:+.1f} %" for end in ends)
        told = [] if volume is None else [both]
        relative = "-" if gap.relative_drop is None else f"{round(100 * gap.relative_drop, 1) + 0.0:.1f} %"
        numbers = [cell(gap.clean), average, relative, worst, cell(gap.gap), kept, *told]
        lines.append([gap.shift, gap.severity, *numbers, cell(gap.lowest), gap.case, gap.told])
    heads = ["clean", "on average", "relative drop", "at its worst", "gap", "draws keep (95 % confidence)"]
    if volume is not None:
        heads.append(f"{volume.replace('_', ' ')}, average / worst")
    return Table(["shift", "severity", *heads, "worst case", "case", "its parameters"], lines)


def shift_pictures(gaps: Sequence[ShiftGap], folder: Path, album: Album) -> list[Picture]:
    """What each shift's worst case is, with its picture, where it was drawn.

    Args:
        gaps: of the summary.
        folder: of the pictures.
        album: takes them into the page.
    """
    shown = []
    for gap in gaps:
        path = figure_path(folder, gap.case, gap.slug)
        if path.is_file():
            text = f"{gap.shift}, severity {gap.severity}: {gap.told}; {gap.metric} {cell(gap.lowest)} ({gap.case})"
            shown.append(album.picture(text, path))
    return shown
