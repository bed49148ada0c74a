"""Which cases are drawn, and where their pictures are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from monai_smia.records import COMPUTED, Primary, Record


def figure_path(folder: Path, case: str, slug: str) -> Path:
    """The picture of a case under an attack."""
    return folder / f"{case}_{slug}.png"


class FigureSelector:
    """Chooses the first cases, and of every attack the case with the most and the one with the least damage.

    Which those are is known at the end alone: a case is drawn where it is one of them so far, and what is none of them
    any more is removed at the end. Interruptions and several processes leave the same pictures.

    Args:
        folder: of the pictures.
        cases: names of all cases, in their order.
        first: how many of them are drawn in any case.
        primary: headline metric of the task.
    """

    def __init__(self, folder: Path, cases: Sequence[str], first: int, primary: Primary) -> None:
        self.folder = folder
        self.order = {case: number for number, case in enumerate(cases)}
        self.first = first
        self.primary = primary
        self._ends: dict[tuple[str, str], tuple[tuple[float, int], ...]] = {}

    def should_draw(self, record: Record) -> bool:
        """Whether to draw a case under an attack, whose record as computed this is."""
        name, value = self._value(record)
        number = self.order[record.case]
        ends = self._ends.get((record.row.slug, name))
        return number < self.first or (
            value is not None and (ends is None or (value, number) < ends[0] or (-value, number) < ends[1])
        )

    def note(self, records: Iterable[Record]) -> None:
        """Take note of the outcomes of cases that did not fail."""
        for record in records:
            name, value = self._value(record)
            if value is not None and record.stage == COMPUTED:
                key = (record.row.slug, name)
                low, high = ends = tuple((sign * value, self.order[record.case]) for sign in (1, -1))
                before = self._ends.get(key, ends)
                self._ends[key] = min(low, before[0]), min(high, before[1])

    def remove_others(self, slugs: Sequence[str]) -> None:
        """Remove what is of none of the chosen cases, once all outcomes are noted."""
        for slug in slugs:
            kept = {number for (name, _), ends in self._ends.items() if name == slug for _, number in ends}
            for case, number in self.order.items():
                if number >= self.first and number not in kept:
                    figure_path(self.folder, case, slug).unlink(missing_ok=True)

    def _value(self, record: Record) -> tuple[str, float | None]:
        name = self.primary.among([record.metrics]).metric
        return name, record.number(name)
