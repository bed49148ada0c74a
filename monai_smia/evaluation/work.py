"""The cases of one process, one after the other: each row is recorded when it is done, and a failure is its case's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from monai_smia.attacks import Attack
from monai_smia.evaluation.cases import Case, read_ahead
from monai_smia.evaluation.errors import failure_of, release_memory, tried_again
from monai_smia.evaluation.fingerprint import named_files
from monai_smia.evaluation.line import ProgressLine
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.evaluation.progress import Progress
from monai_smia.evaluation.row import RowEvaluator
from monai_smia.evaluation.tracking import Tracker
from monai_smia.evaluation.volumes import Volumes
from monai_smia.records import Journal, Record
from monai_smia.report.figures.selector import FigureSelector


@dataclass
class Work:
    """Evaluates cases and records what is done.

    What the machine does to a row (a device that fails, memory that is not there) is tried again before it counts.

    Args:
        load: from an item to its case.
        evaluate_row: makes the records of a row.
        progress: knows which rows are missing.
        journal: takes the records.
        line: shows how far it is.
        selector: chooses the cases that are drawn.
        tracker: is given the figures of a case that is done.
        volumes: keeps the files of the chosen ones.
        probes: the attack at whose radius the victim is probed, by the names of the cases.
        first: is told the first case that could be loaded.
    """

    load: Callable[[Mapping[str, Any]], Case]
    evaluate_row: RowEvaluator
    progress: Progress
    journal: Journal
    line: ProgressLine
    selector: FigureSelector
    tracker: Tracker
    volumes: Volumes
    probes: Mapping[str, Attack | None]
    first: Callable[[Case], None]

    def run(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Evaluate what is missing of every case.

        Raises:
            OutputError: if the output cannot be written.
            MachineError: if the machine fails again and again.
        """
        for item, found in read_ahead(items, self.load):
            if not self._evaluate(item, [found]):
                del found
                release_memory()  # after running out of it, let go of what the case held

    def _evaluate(self, item: Mapping[str, Any], found: list[Any]) -> bool:
        """Whether all rows of a case are done."""
        row: PlannedAttack | None = None
        done: list[Record] = []
        missing = list(self.progress.missing(item))
        try:
            case = tried_again(partial(self._loaded, item, found))
            for row in tuple(missing):
                self.line.begin(item["case"], row)
                entry = self.progress.line(item, row, tried_again(partial(self._records, case, row)))
                self.journal.add(entry)
                done += entry.records
                self.line.end()
                missing.remove(row)
            self.volumes.drop(self.selector.note(done))
            self.tracker.note(done)
            return True
        except Exception as error:
            files = [file for value in item.values() for file in named_files(value)]
            self.journal.add(self.progress.line(item, row, [failure_of(item["case"], error, files)], failed=True))
            self.line.drop(missing)
            return False

    def _loaded(self, item: Mapping[str, Any], found: list[Any]) -> Case:
        """The case that was read ahead, or, where that raised an error and is tried again, the case read now."""
        case = found.pop() if found else self.load(item)
        if isinstance(case, Exception):
            raise case
        case = self.evaluate_row.figures.prepare(case)
        self.first(case)
        whole: Case = case
        return whole

    def _records(self, case: Case, row: PlannedAttack) -> list[Record]:
        return self.evaluate_row(
            case,
            row,
            draw=self.selector.should_draw,
            settle=lambda record, path: self.volumes.settle(record, path, self.selector),
            probe_with=self.probes.get(case.name),
        )
