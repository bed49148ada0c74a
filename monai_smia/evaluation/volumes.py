"""Which adversarial images stay as files, once they were read back and predicted again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_smia.analysis import groups_of
from monai_smia.analysis.comparisons import extremes
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.files import remove, write_text
from monai_smia.nearest import nearest
from monai_smia.records import STORED, JournalReader, Outcome, Primary, Record, current
from monai_smia.report.figures.selector import FigureSelector
from monai_smia.storage import Storage
from monai_smia.storage.stored import files_by_stem

KINDS = WORST, ALL, NONE = "worst", "all", "none"
WORDS = {True: ALL, False: NONE, "true": ALL, "false": NONE}  # what was said before there were three
STATE = "volumes.json"  # beside the journal


def which_volumes(value: Any) -> str:
    """`WORST`, `ALL` or `NONE`; True and False are the latter two.

    Raises:
        ValueError: if it is something else.

    Example:
        >>> which_volumes("worst"), which_volumes(True), which_volumes("None")
        ('worst', 'all', 'none')
    """
    word = value.lower() if isinstance(value, str) else value
    word = WORDS.get(word, word) if isinstance(word, (str, bool)) else word
    if word not in KINDS:
        raise ValueError(f"write_volumes must be one of worst, all, none, got {value!r}{nearest(value, KINDS)}")
    return str(word)


def stem_of(case: str, slug: str) -> str:
    """What the files of a case under an attack are named for."""
    return f"{case}_{slug}"


@dataclass
class Volumes:
    """Keeps the files of the worst case of every attack, of all cases, or none.

    Which case is the worst is known at the end alone: a file stays where its case is the worst so far, and goes when
    another one has taken its place, after that one's record is on disk. What an earlier run of this folder had kept on
    purpose, all of it, stays whatever this run keeps.

    Args:
        keep: `WORST`, `ALL` or `NONE`.
        storage: that writes; one without a `folder` of its own keeps what was the worst when it was written.
        cases: names of all cases.
        plan: the rows.
        journal: of the evaluation.
    """

    keep: str
    storage: Storage | None
    cases: Sequence[str]
    plan: Sequence[PlannedAttack]
    journal: JournalReader
    _written: set[str] = field(init=False, default_factory=set)  # in this process

    def __post_init__(self) -> None:
        slugs = [row.slug for row in self.plan if row.attack is not None]
        self.stems = {stem_of(case, slug): (case, slug) for case in self.cases for slug in slugs}

    @property
    def folder(self) -> Path | None:
        """Where they lie; None where it is not known."""
        folder = getattr(self.storage, "folder", None)
        return None if folder is None else Path(folder)

    def begin(self, run: int) -> None:
        """Note which runs have kept all of their files; to be called by the first process.

        Args:
            run: number of the one that begins.
        """
        kept = run if self.keep == ALL else self._kept_until(run - 1)
        write_text(self.journal.folder / STATE, json.dumps({"kept_until_run": kept}))

    def settle(self, record: Record, path: Path, selector: FigureSelector) -> None:
        """Keep the file of a record for now, or remove it.

        Args:
            record: of the attack.
            path: what its storage has written and read back.
            selector: knows which case is the worst so far.
        """
        stem = stem_of(record.case, record.row.slug)
        if self.keep == ALL or (self.keep == WORST and selector.is_worst(record)):
            self._written.add(stem)
        else:
            self._remove({stem}, path.parent)

    def drop(self, overtaken: Iterable[tuple[str, str]]) -> None:
        """Remove what this process has written of cases that are the worst of their attack no more.

        Args:
            overtaken: cases and slugs.
        """
        if self.keep == WORST and self.folder is not None:
            gone = self._written & {stem_of(case, slug) for case, slug in overtaken}
            self._remove(gone, self.folder)
            self._written -= gone

    def finish(self, outcomes: Sequence[Outcome], primary: Primary) -> str:
        """Remove what is none of the chosen ones, once all records are there; to be called by the first process.

        Args:
            outcomes: of all cases.
            primary: headline metric of the task.

        Returns:
            What is there now, and what is not though it should be, in a sentence; empty where nothing was stored.
        """
        stored = {stem_of(r.case, r.row.slug): r for r in outcomes if isinstance(r, Record) and r.stage == STORED}
        if self.folder is None or not stored:
            return ""
        chosen = self._chosen(outcomes, primary) & stored.keys()
        if self.keep != ALL:
            self._remove(self._made_after(self._kept_until(0)) - chosen, self.folder)
        there = files_by_stem(self.folder, self.stems)
        missing = [stem for stem in chosen if stem not in there and not stored[stem].below_quantization]
        return self._told(there, len(missing))

    def _told(self, there: Mapping[str, list[Path]], missing: int) -> str:
        which = {WORST: "the worst case of each attack", ALL: "all", NONE: "none kept"}[self.keep]
        count = f"{len(there)} adversarial image{'' if len(there) == 1 else 's'}"
        text = (
            f"{count} ({which}): {self.folder.resolve()}"
            if there and self.folder
            else f"no adversarial image ({which})"
        )
        again = (
            f"; {missing} more an earlier run did not keep: resume=False makes {'it' if missing == 1 else 'them'} again"
        )
        return text + (again if missing else "")

    def _chosen(self, outcomes: Sequence[Outcome], primary: Primary) -> set[str]:
        if self.keep != WORST:
            return set(self.stems) if self.keep == ALL else set()
        of_cases = primary.among(outcome.metrics for outcome in outcomes if isinstance(outcome, Record))
        found = extremes(groups_of(outcomes), of_cases)
        return {stem_of(entry.worst.case, entry.slug) for entry in found if entry.worst is not None}

    def _kept_until(self, otherwise: int) -> int:
        path = self.journal.folder / STATE
        return int(json.loads(path.read_text(encoding="utf-8"))["kept_until_run"]) if path.is_file() else otherwise

    def _made_after(self, run: int) -> set[str]:
        """Stems of what later runs have made."""
        lines = current(self.journal.read())
        return {stem_of(case, slug) for case, rows in lines.items() for slug, line in rows.items() if line.run > run}

    def _remove(self, stems: Collection[str], folder: Path) -> None:
        for stem, paths in files_by_stem(folder, self.stems).items() if stems else ():
            for path in paths if stem in stems else ():
                remove(path)
