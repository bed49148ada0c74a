"""The pictures at the top of the page: the case that an attack damaged most, and the one nearest the median."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from monai_smia.analysis.comparisons import CaseOutcome
from monai_smia.report.document import ReportContent
from monai_smia.report.figures.selector import figure_path, slices_path
from monai_smia.report.table import cell


@dataclass(frozen=True)
class Shown:
    """A case at the top of the page.

    Args:
        title: why it is there, and its name.
        text: its metric clean and under the attack.
        png: a picture, base64; empty where there are slices.
        slices: of a volume, as `monai_smia.report.figures.slices.write_slices` has written them.
    """

    title: str
    text: str
    png: str = ""
    slices: dict[str, Any] | None = None


def showcase(content: ReportContent, folder: Path) -> list[Shown]:
    """The worst case within the smallest radius, and of those that are drawn the one nearest the median.

    Args:
        content: of the report.
        folder: of the pictures.
    """
    slugs = {row.row.label: row.row.slug for row in content.rows}
    broken = [case for case in content.cases if case.by]
    drawn = [case for case in broken if _files(folder, case, slugs)]
    if not drawn:
        return []
    middle = median(case.worst for case in content.cases if not case.wrong_when_clean)
    nearest = min(drawn, key=lambda case: abs(case.worst - middle))
    chosen = [("Worst case", broken[0])] if broken[0] is drawn[0] else []
    if not (chosen and nearest is broken[0]):
        chosen.append(("Case nearest the median", nearest))
    several = len({row.row.eps for row in content.rows if row.row.eps}) > 1  # the headline is of the largest
    within = " within the smallest radius" if several else ""
    return [_shown(f"{title}{within}", case, content, *_files(folder, case, slugs)[0]) for title, case in chosen]


def _files(folder: Path, case: CaseOutcome, slugs: dict[str, str]) -> list[tuple[str, Path]]:
    """The attacks that are a case's worst, with their slices or pictures, slices first."""
    paths = [(label, kind(folder, case.case, slugs[label])) for kind in (slices_path, figure_path) for label in case.by]
    return [(label, path) for label, path in paths if path.is_file()]


def _shown(title: str, case: CaseOutcome, content: ReportContent, label: str, path: Path) -> Shown:
    clean = "" if case.clean is None else f"{cell(case.clean)} clean, "
    told = f"{content.primary.case_metric} {clean}{cell(case.worst)} under {label}"
    if path.suffix == ".json":
        return Shown(f"{title}: {case.case}", told, slices=json.loads(path.read_text(encoding="utf-8")))
    return Shown(f"{title}: {case.case}", told, png=base64.b64encode(path.read_bytes()).decode("ascii"))
