"""What lies within a radius: the attacks that were run at it, and what others did with less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from monai_smia.analysis.summary import Group
from monai_smia.records import COMPUTED, Record, RowKey
from monai_smia.records.rows import CRITICAL_RADIUS

NEAR = 1 + 1e-6  # times a radius: what lies beyond it by less is rounding


@dataclass(frozen=True)
class Within:
    """The attacks whose changes lie within one radius.

    Args:
        own: rows that were run at it.
        smaller: rows of smaller radii, and of searches for a critical radius the cases that needed no more.
    """

    own: list[Group]
    smaller: list[Group]

    @property
    def row(self) -> RowKey:
        """A row of the radius."""
        return self.own[0].row

    @property
    def groups(self) -> list[Group]:
        """All of them, those that were run at the radius first."""
        return [*self.own, *self.smaller]

    def preferred(self, labels: Sequence[str]) -> list[str]:
        """Of rows that did as much, those that were run at the radius, where there are any."""
        known = {group.row.label for group in self.own}
        return [label for label in labels if label in known] or list(labels)


def computed(groups: Sequence[Group]) -> list[Group]:
    """The rows as they were computed, before any storage."""
    return [group for group in groups if group.stage == COMPUTED]


def by_radius(groups: Sequence[Group]) -> list[Within]:
    """Attacks by eps, eps in the image's unit and norm, the smallest radius first."""
    radii: dict[tuple[float | None, float | None, str | None], list[Group]] = {}
    attacks = [group for group in computed(groups) if not group.row.is_clean]
    for group in attacks:
        if group.row.setting != CRITICAL_RADIUS:
            radii.setdefault((group.row.eps, group.row.eps_input, group.row.norm), []).append(group)
    ordered = sorted(radii, key=lambda key: (key[0] or 0.0, key[2] or ""))
    return [Within(radii[key], smaller_than(radii[key][0].row, attacks)) for key in ordered]


def smaller_than(row: RowKey, groups: Sequence[Group]) -> list[Group]:
    """What rows of other radii hold that lies within that of a row, of the cases that it holds."""
    found = []
    for group in groups:
        if row.eps is None or group.row.eps is None or group.row.norm != row.norm:
            continue
        if group.row.setting == CRITICAL_RADIUS:
            records = [record for record in group.records if _lies_within(record, row)]
            found += [replace(group, records=records)] if records else []
        elif group.row.is_within and group.row.eps < row.eps:
            found.append(group)
    return found


def _lies_within(record: Record, row: RowKey) -> bool:
    size = record.number(row.norm or "linf")
    return size is not None and row.eps_input is not None and size <= NEAR * row.eps_input
