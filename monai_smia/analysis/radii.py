"""What lies within a radius: the attacks that were run at it, and what others did with no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from monai_smia.analysis.summary import Group
from monai_smia.records import COMPUTED, Record, RowKey
from monai_smia.records.rows import CRITICAL_RADIUS

NEAR = 1 + 1e-4  # times a radius: what lies beyond it by less may be the rounding of the image's numbers


@dataclass(frozen=True)
class Within:
    """The attacks whose changes lie within one radius.

    Args:
        own: rows that were run at it.
        smaller: rows of smaller radii, and of searches for a critical radius the cases that needed no more; none beside
            patches and the SMIA paper's own setting.
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
    return [Within(radii[key], smaller_than(radii[key], attacks)) for key in ordered]


def smaller_than(own: Sequence[Group], groups: Sequence[Group]) -> list[Group]:
    """What other rows hold that lies within the radius of some, of the cases that these rows hold.

    Args:
        own: rows of one radius; of patches and of the SMIA paper's own setting, which are of another threat, nothing.
        groups: the rows to look through.
    """
    row = next((group.row for group in own if group.row.is_within), None)
    found = []
    for group in groups:
        if row and lies_within(group.row, row):
            found.append(group)
        elif row and group.row.setting == CRITICAL_RADIUS and group.row.norm == row.norm:
            records = [record for record in group.records if _is_no_larger(record, row)]
            found += [replace(group, records=records)] if records else []
    return found


def lies_within(other: RowKey, row: RowKey) -> bool:
    """Whether another row, or a search for the critical radius, is as a whole within the radius of a row."""
    if row.eps is None or other.eps is None or other.norm != row.norm or not other.is_bounded:
        return False
    return other.eps <= row.eps if other.setting == CRITICAL_RADIUS else other.eps < row.eps


def _is_no_larger(record: Record, row: RowKey) -> bool:
    size = record.number(row.norm or "linf")
    return size is not None and row.eps_input is not None and size <= NEAR * row.eps_input
