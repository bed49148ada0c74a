"""Which cases are drawn, and where their pictures are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from monai_smia.analysis.comparisons import damage_done, is_broken
from monai_smia.records import COMPUTED, Primary, Record
from monai_smia.records.damage import ADDED_DAMAGE
from monai_smia.records.rows import CRITICAL_RADIUS

End = tuple[float, float, int]  # damage added, the metric, and the case's number
NOTHING: End = (float("inf"), float("inf"), -1)


def figure_path(folder: Path, case: str, slug: str) -> Path:
    """The picture of a case under an attack."""
    return folder / f"{case}_{slug}.png"


def slices_path(folder: Path, case: str, slug: str) -> Path:
    """The slices of a volume under an attack."""
    return folder / f"{case}_{slug}.slices.json"


def within_radius(record: Record) -> tuple[object, ...] | None:
    """The case and the radius within which its worst attack has slices; None of a search for a radius."""
    row = record.row
    return None if row.setting == CRITICAL_RADIUS else (record.case, row.eps, row.norm)


class FigureSelector:
    """Chooses the first cases, and of every attack the case with the most and the one with the least damage added.

    The worst one is a case whose decision the attack has changed for the worse.

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
        self.names = list(cases)
        self.order = {case: number for number, case in enumerate(cases)}
        self.first = first
        self.primary = primary
        self._ends: dict[tuple[str, str], list[End]] = {}
        self._most: dict[tuple[object, ...], tuple[float, str]] = {}  # by case and radius: damage and attack

    def should_draw(self, record: Record) -> bool:
        """Whether to draw a case under an attack, whose record as computed this is."""
        return self.order[record.case] < self.first or any(
            end is not None and end < before for end, before in zip(self._of(record), self._before(record), strict=True)
        )

    def is_worst(self, record: Record) -> bool:
        """Whether a case is the worst one of an attack so far."""
        worst, before = self._of(record)[0], self._before(record)[0]
        return worst is not None and worst <= before

    def note(self, records: Iterable[Record]) -> list[tuple[str, str]]:
        """Take note of the outcomes of cases that did not fail.

        Returns:
            Cases and slugs of those that are the worst of an attack no more.
        """
        overtaken = []
        for record in records:
            if record.stage == COMPUTED:
                ends = zip(self._of(record), self._before(record), strict=True)
                after = [before if end is None else min(end, before) for end, before in ends]
                last = self._before(record)[0][-1]
                if 0 <= last != after[0][-1]:
                    overtaken.append((self.names[last], record.row.slug))
                self._ends[self._key(record)] = after
                within, added = within_radius(record), record.number(ADDED_DAMAGE) or 0.0
                if within is not None and added > self._most.get(within, (0.0, ""))[0]:
                    self._most[within] = added, record.row.slug
        return overtaken

    def remove_others(self, slugs: Sequence[str]) -> None:
        """Remove what is of none of the chosen cases, and slices of weaker attacks, once all outcomes are noted."""
        most = {(str(within[0]), slug) for within, (_, slug) in self._most.items()}
        for slug in slugs:
            kept = {end[-1] for (name, _), ends in self._ends.items() if name == slug for end in ends}
            for case, number in self.order.items():
                is_chosen = number < self.first or number in kept
                if not is_chosen:
                    figure_path(self.folder, case, slug).unlink(missing_ok=True)
                if not is_chosen or (case, slug) not in most:
                    slices_path(self.folder, case, slug).unlink(missing_ok=True)

    def _before(self, record: Record) -> list[End]:
        """The ends of this attack so far."""
        return self._ends.get(self._key(record), [NOTHING, NOTHING])

    def _key(self, record: Record) -> tuple[str, str]:
        """The attack, and the metric that the case has."""
        return record.row.slug, self.primary.among([record.metrics]).metric

    def _of(self, record: Record) -> list[End | None]:
        """The case as the worst and as the best one, the lowest of each to be kept; None where it cannot be that."""
        primary = self.primary.among([record.metrics])
        done, number = damage_done(record, primary), self.order[record.case]
        if done is None:
            return [None, None]
        return [(-done[0], -done[1], number) if is_broken(record, primary) else None, (*done, number)]
