"""Tables of single structures: what every attack does to one class, its overlap and surface, and its volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monai_smia.metrics.structures import structure_of, structures_of
from monai_smia.records import SummaryRow
from monai_smia.report.document import ReportContent
from monai_smia.report.table import Table
from monai_smia.report.tables import row_cell, row_name, shown_rows

MAX_STRUCTURES = 8  # with tables of their own; all of them are in summary.json
VOLUMES = ("volume_", "cv_volume_", "over_")  # beginnings of names


@dataclass(frozen=True)
class StructureTables:
    """The tables of one structure.

    Args:
        name: of the structure.
        scores: overlap, surface and lesions, a line an attack.
        volumes: volume, its error and its change.
    """

    name: str
    scores: Table
    volumes: Table


def structure_tables(content: ReportContent) -> list[StructureTables]:
    """Of every structure its tables, those that lose most first, `MAX_STRUCTURES` of them at most.

    Args:
        content: of the report.
    """
    rows = shown_rows(content)
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    structures = structures_of(names)
    known = [each for each in structures if any(row.value(f"jaccard_{each}") is not None for row in rows)]
    most_lost = sorted(known, key=lambda each: -_lost(rows, each))[:MAX_STRUCTURES]
    return [_tables(rows, each, structures, names) for each in known if each in most_lost]


def structure_metrics(content: ReportContent) -> list[str]:
    """The metrics of single structures, without their names."""
    names = dict.fromkeys(name for row in content.rows for name in row.metrics)
    structures = structures_of(names)
    owners = {name: structure_of(name, structures) for name in names}
    return list(dict.fromkeys(name.removesuffix(f"_{owner}") for name, owner in owners.items() if owner is not None))


def _lost(rows: Sequence[SummaryRow], structure: str) -> float:
    """Jaccard on clean images minus that under the strongest attack."""
    name = f"jaccard_{structure}"
    clean = [row.value(name) or 0.0 for row in rows if row.row.is_clean]
    return max(clean, default=1.0) - min(value for row in rows if (value := row.value(name)) is not None)


def _tables(
    rows: Sequence[SummaryRow], structure: str, structures: Sequence[str], names: Sequence[str]
) -> StructureTables:
    own = [name for name in names if structure_of(name, structures) == structure]
    known = [name for name in own if any(row.value(name) is not None for row in rows)]
    volumes = [name for name in known if name.startswith(VOLUMES)]

    def table(columns: Sequence[str]) -> Table:
        lines = [[row_name(row), *(row_cell(row, name) for name in columns)] for row in rows]
        return Table(["attack", *(name.removesuffix(f"_{structure}") for name in columns)], lines if columns else [])

    return StructureTables(structure, table([name for name in known if name not in volumes]), table(volumes))
