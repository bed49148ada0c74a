"""Records of an evaluation in its output folder: which are there, which are missing, and what they come to."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ignite.distributed as idist

from monai_smia import __version__
from monai_smia.evaluation.cases import patient_of
from monai_smia.evaluation.errors import TRY_AGAIN, ConfigurationError, LostWorkerError
from monai_smia.evaluation.fingerprint import digest, input_hash, input_stat
from monai_smia.evaluation.plain import canonical
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.files import remove, remove_unfinished, write_text, writing
from monai_smia.records import JournalLine, JournalReader, Outcome, Provenance, Record, current, next_run
from monai_smia.records.record import FAILURE


def versions() -> dict[str, str]:
    """Versions of what computes."""
    found = {"python": platform.python_version(), "monai_smia": __version__}
    for package in ("torch", "monai", "pytorch-ignite", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # used from its sources
            found[package] = "not installed"
    return found


def wait_for_all() -> None:
    """Go on when every process of the evaluation has come here.

    Raises:
        LostWorkerError: if one of them is gone.
    """
    try:
        idist.barrier()
    except RuntimeError as error:
        raise LostWorkerError(
            f"another process of this evaluation is gone ({error}); run the same command again: what is done is kept."
        ) from error


@dataclass
class Progress:
    """Done and missing rows of every case.

    A line of a journal counts while the case's files and the attack are the ones it was made of. The victim with its
    weights, the loading, the metrics and the storage belong to all of them: they stand in ``configuration.json``, and
    an evaluation in which they differ is refused.

    Args:
        output_dir: of the evaluation; the journal is in its ``journal``.
        cases: items with ``case`` and their files.
        attacks: the plan.
        configuration: all that every record depends on, as JSON; its ``weights`` is the hash of the network's.
        resume: go on where the folder's records end; False starts anew.
        verify: hash the files of all cases, also of those whose size and time of change are the known ones.
        retry_failed: do cases again that have failed, whatever they failed of.
    """

    output_dir: Path
    cases: Sequence[Mapping[str, Any]]
    attacks: Sequence[PlannedAttack]
    configuration: Mapping[str, Any]
    resume: bool = True
    verify: bool = False
    retry_failed: bool = False
    digests: dict[str, str] = field(init=False)  # of the attacks, by slug
    run: int = field(init=False, default=1)  # one more than that of any line that was there
    round: int = field(init=False, default=1)  # rows of later ones are not planned yet
    journals: JournalReader = field(init=False)
    _lines: dict[str, dict[str, JournalLine]] = field(init=False, default_factory=dict)
    _missing: dict[str, list[PlannedAttack]] = field(init=False, default_factory=dict)
    _inputs: dict[str, tuple[str, list[list[int]]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.journals = JournalReader(self.folder)
        self.digests = {row.slug: digest(row) for row in self.attacks}
        self._config_sha256 = digest(self.configuration)
        self._versions = ", ".join(f"{name} {number}" for name, number in versions().items())

    @property
    def folder(self) -> Path:
        """The journal's."""
        return self.output_dir / "journal"

    def open(self) -> None:
        """Read what is there.

        Raises:
            ConfigurationError: if it is of another configuration.
            RecordVersionError: if another version of this package has written it.
        """
        path = self.folder / "configuration.json"
        restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
        if idist.get_rank() == 0:
            if not self.resume and not restarted:
                remove(self.folder)
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            remove_unfinished(self.output_dir)
            lines = self.journals.read()
            if lines and path.exists():
                self._check(json.loads(path.read_text(encoding="utf-8")))
            write_text(path, json.dumps(self.configuration, indent=1))
        wait_for_all()
        self.run = next_run(self.journals.read())
        self.begin(1)

    def begin(self, number: int) -> None:
        """Look up what is missing of the rounds up to this one."""
        first = number == 1
        self.round, self._lines = number, current(self.journals.read())
        self._missing = {item["case"]: self._find_missing(item, try_again=first) for item in self.cases}

    @property
    def rounds(self) -> list[int]:
        """The rounds of the plan; of rows that are of none there is one."""
        return sorted({_round_of(row) for row in self.attacks})

    @property
    def planned(self) -> list[PlannedAttack]:
        """The rows up to this round."""
        return [row for row in self.attacks if _round_of(row) <= self.round]

    def missing(self, item: Mapping[str, Any]) -> list[PlannedAttack]:
        """The rows of a case that are still to be done; none of a case that is known to fail."""
        return self._missing[item["case"]]

    def known(self) -> list[Record]:
        """The records that are there already, of cases that have not failed."""
        return [
            record
            for item in self.cases
            for lines in [self._lines.get(item["case"], {})]
            for row in self.planned
            if row not in self.missing(item) and not self._failed(lines) and row.slug in lines
            for record in lines[row.slug].records
        ]

    def line(
        self, item: Mapping[str, Any], row: PlannedAttack | None, outcomes: Sequence[Outcome], *, failed: bool = False
    ) -> JournalLine:
        """The journal's line of a row, or of a failure (with the row in which it happened, None while loading)."""
        if item["case"] not in self._inputs:
            self._inputs = {item["case"]: (input_hash(item), input_stat(item))}
        source, stat = self._inputs[item["case"]]
        weights = str(self.configuration["weights"])
        origin = Provenance(source, weights, self._config_sha256, self._versions)
        patient = patient_of(item)
        return JournalLine(
            case=item["case"],
            key=FAILURE if failed or row is None else row.slug,
            run=self.run,
            time=time.time(),
            input=source,
            stat=stat,
            attack=None if row is None else self.digests[row.slug],
            outcomes=[replace(outcome, provenance=origin, patient=patient) for outcome in outcomes],
        )

    def merge(self) -> list[Outcome]:
        """All outcomes up to this round, in the order of cases and plan.

        Raises:
            LostWorkerError: if a case has neither its records nor a failure.
        """
        cases = current(self.journals.read())
        outcomes: list[Outcome] = []
        lost = []
        planned = {row.slug: self.digests[row.slug] for row in self.planned}
        for item in self.cases:
            lines = cases.get(item["case"], {})
            found = [lines[slug] for slug, attack in planned.items() if self._counts(lines.get(slug), attack)]
            if len(found) < len(planned):
                if not self._failed(lines):
                    lost.append(item["case"])
                    continue
                found.append(lines[FAILURE])
            outcomes += [outcome for line in found for outcome in line.outcomes]
        if lost:
            raise LostWorkerError(f"records are missing of cases {lost}: run the same command again to make them.")
        return outcomes

    def _find_missing(self, item: Mapping[str, Any], *, try_again: bool) -> list[PlannedAttack]:
        lines = self._lines.get(item["case"], {})
        newest = next(reversed(lines.values()), None)
        if newest is not None and not self._same_input(item, newest):
            lines = {}
        missing = [row for row in self.planned if not self._counts(lines.get(row.slug), self.digests[row.slug])]
        again = self.retry_failed or self._worth_another_try(lines.get(FAILURE))
        if self._failed(lines) and not (try_again and again):
            return []
        return missing

    def _same_input(self, item: Mapping[str, Any], line: JournalLine) -> bool:
        if not self.verify and line.stat and line.stat == input_stat(item):
            return True
        return line.input == input_hash(item)

    def _failed(self, lines: Mapping[str, JournalLine]) -> bool:
        """Whether the last that was seen of a case is its failure, while loading or under an attack of this plan."""
        return next(reversed(list(lines)), None) == FAILURE and lines[FAILURE].attack in (None, *self.digests.values())

    @staticmethod
    def _worth_another_try(line: JournalLine | None) -> bool:
        return line is not None and line.failure is not None and line.failure.kind in TRY_AGAIN

    @staticmethod
    def _counts(line: JournalLine | None, attack: str) -> bool:
        return line is not None and line.attack == attack

    def _check(self, before: Mapping[str, Any]) -> None:
        changed = [
            f"{name} ({_first_difference(before.get(name), now)})"
            for name, now in self.configuration.items()
            if canonical(before.get(name)) != canonical(now)
        ]
        if changed:
            raise ConfigurationError(
                f"output_dir={str(self.output_dir)!r} holds records of another configuration, which must "
                f"not be mixed: {'; '.join(changed)}. Choose another output_dir, or start anew with resume=False."
            )


def _round_of(row: PlannedAttack) -> int:
    return row.key().round or 1


def _first_difference(before: Any, now: Any, path: str = "") -> str:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys((*before, *now)):
            if before.get(name) != now.get(name):
                return _first_difference(before.get(name), now.get(name), f"{path}.{name}".lstrip("."))
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (old, new) in enumerate(zip(before, now, strict=True)):
            if old != new:
                return _first_difference(old, new, f"{path}[{number}]")
    return f"{path}: {str(before)[:60]} -> {str(now)[:60]}".lstrip(": ")
