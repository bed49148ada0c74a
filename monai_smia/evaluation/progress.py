"""What is done already, what is missing, and what the finished records are."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import ignite.distributed as idist

from monai_smia.evaluation.errors import TRY_AGAIN, ConfigurationError, LostWorkerError
from monai_smia.evaluation.fingerprint import describe, digest, input_hash, input_stat, weights_hash
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.records.journal import Line, current, read_journals, replace_file

if TYPE_CHECKING:
    from monai_smia.evaluation.runner import AttackEvaluation

FAILURE = "failure"
CONFIGURATION = ("victim", "loading", "metrics", "storage", "unit", "data_range", "survival")


def versions() -> dict[str, str]:
    """Versions of what computes."""
    found = {"python": platform.python_version()}
    for package in ("monai_smia", "torch", "monai", "pytorch-ignite", "numpy"):
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


class Progress:
    """Records of an evaluation in its output folder: which are there, which are missing.

    A line of a journal counts while the case's files and the attack are the ones it was made of. The victim with its
    weights, the loading, the metrics and the storage belong to all of them: they stand in ``configuration.json``, and
    an evaluation in which they differ is refused.

    Args:
        evaluation: the evaluation.
    """

    def __init__(self, evaluation: AttackEvaluation) -> None:
        self.evaluation = evaluation
        self.folder = evaluation.output_dir / "journal"
        self.configuration = {name: describe(getattr(evaluation, name)) for name in CONFIGURATION}
        self.configuration["weights"] = weights_hash(evaluation.victim.network)
        self.identity = {"weights_sha256": self.configuration["weights"], "config_sha256": digest(self.configuration)}
        self.identity["versions"] = ", ".join(f"{name} {number}" for name, number in versions().items())
        self.attacks = {row.slug: digest(row) for row in evaluation.attacks}
        self.lines: dict[str, dict[str, Line]] = {}
        self._missing: dict[str, list[PlannedAttack]] = {}
        self._inputs: dict[str, tuple[str, list[list[int]]]] = {}

    def open(self) -> None:
        """Read what is there.

        Raises:
            ConfigurationError: if it is of another configuration.
        """
        path = self.folder / "configuration.json"
        restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
        if idist.get_rank() == 0:
            if not self.evaluation.resume and not restarted:
                shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            lines = read_journals(self.folder)
            if lines and path.exists():
                self._check(json.loads(path.read_text(encoding="utf-8")))
            replace_file(path, json.dumps(self.configuration, indent=1))
        wait_for_all()
        self.lines = current(read_journals(self.folder))
        self._missing = {item["case"]: self._find_missing(item) for item in self.evaluation.cases}

    def missing(self, item: Mapping[str, Any]) -> list[PlannedAttack]:
        """The rows of a case that are still to be done; none of a case that is known to fail."""
        return self._missing[item["case"]]

    def known(self) -> list[dict[str, Any]]:
        """The records that are there already, of cases that have not failed."""
        return [
            record
            for item in self.evaluation.cases
            for lines in [self.lines.get(item["case"], {})]
            for row in self.evaluation.attacks
            if row not in self.missing(item) and not self._failed(lines) and row.slug in lines
            for record in lines[row.slug]["records"]
        ]

    def line(
        self,
        item: Mapping[str, Any],
        row: PlannedAttack | None,
        records: Sequence[Mapping[str, Any]],
        *,
        failed: bool = False,
    ) -> Line:
        """The journal's line of a row, or of a failure (with the row in which it happened, None while loading)."""
        key = FAILURE if failed or row is None else row.slug
        if item["case"] not in self._inputs:
            self._inputs = {item["case"]: (input_hash(item), input_stat(item))}
        source, stat = self._inputs[item["case"]]
        identity = {
            "patient": str(item.get("patient", item["case"])),
            "key": f"{item['case']}|{key}",
            "input_sha256": source,
            **self.identity,
        }
        return {
            "case": item["case"],
            "key": key,
            "time": time.time(),
            "input": source,
            "stat": stat,
            "attack": None if row is None else self.attacks[row.slug],
            "records": [{**record, **identity} for record in records],
        }

    def merge(self) -> list[dict[str, Any]]:
        """All records in the order of cases and plan.

        Raises:
            LostWorkerError: if a case has neither its records nor a failure.
        """
        cases = current(read_journals(self.folder))
        records, lost = [], []
        for item in self.evaluation.cases:
            lines = cases.get(item["case"], {})
            found = [lines[slug] for slug, attack in self.attacks.items() if self._counts(lines.get(slug), attack)]
            if len(found) < len(self.attacks):
                if not self._failed(lines):
                    lost.append(item["case"])
                    continue
                found.append(lines[FAILURE])
            records += [record for line in found for record in line["records"]]
        if lost:
            raise LostWorkerError(f"records are missing of cases {lost}: run the same command again to make them.")
        return records

    def _find_missing(self, item: Mapping[str, Any]) -> list[PlannedAttack]:
        lines = self.lines.get(item["case"], {})
        newest = next(reversed(lines.values()), None)
        if newest is not None and not self._same_input(item, newest):
            lines = {}
        missing = [
            row for row in self.evaluation.attacks if not self._counts(lines.get(row.slug), self.attacks[row.slug])
        ]
        known = self._failed(lines) and lines[FAILURE]["records"][0]["kind"] not in TRY_AGAIN
        return [] if known else missing

    def _same_input(self, item: Mapping[str, Any], line: Line) -> bool:
        if not self.evaluation.verify and line["stat"] and line["stat"] == input_stat(item):
            return True
        return bool(line["input"] == input_hash(item))

    def _failed(self, lines: Mapping[str, Line]) -> bool:
        """Whether a case failed, while loading or under an attack of this plan."""
        return FAILURE in lines and lines[FAILURE]["attack"] in (None, *self.attacks.values())

    @staticmethod
    def _counts(line: Line | None, attack: str) -> bool:
        return line is not None and line["attack"] == attack

    def _check(self, before: Mapping[str, Any]) -> None:
        changed = [
            f"{name} ({_first_difference(before.get(name), now)})"
            for name, now in self.configuration.items()
            if before.get(name) != now
        ]
        if changed:
            raise ConfigurationError(
                f"output_dir={str(self.evaluation.output_dir)!r} holds records of another configuration, which must "
                f"not be mixed: {'; '.join(changed)}. Choose another output_dir, or start anew with resume=False."
            )


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
