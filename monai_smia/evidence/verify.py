"""Whether a finished evaluation is what it was, and comes out the same when it is run again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from monai_smia.evaluation import AttackEvaluation
from monai_smia.evidence.again import evaluation_of
from monai_smia.evidence.archive import opened
from monai_smia.evidence.derived import check_derived
from monai_smia.evidence.errors import NotAgainError
from monai_smia.evidence.recompute import Recomputed, check_setting, drawn, fresh_seed, recompute, versions_text
from monai_smia.evidence.signature import is_signed_by, name_of_key
from monai_smia.records import DamagedRecordsError, EvaluationSpec, Outcome, Summary, check_seal, read_records
from monai_smia.records.manifest import MANIFEST_FILE, SIGNATURE_FILE, check_manifest, read_manifest

EQUAL, NOT_CHECKED, DIFFERS = 0, 1, 3  # exit statuses


@dataclass
class Verification:
    """What was checked of evidence, and what was found.

    Args:
        files: how many its manifest names.
        signature: who signed it, in a sentence.
        differences: what is not as it should be, in sentences.
        notes: what could not be compared though all else was.
        rows: those that were computed once more.
        seed: they were drawn with.
        unchecked: why rows were not computed once more; empty where they were, or nobody asked.
        asked: whether rows were to be computed.
    """

    files: int = 0
    signature: str = ""
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: list[Recomputed] = field(default_factory=list)
    seed: int | None = None
    unchecked: str = ""
    asked: bool = True

    @property
    def status(self) -> int:
        """Exit status: 0 where nothing differs, 3 where something does, 1 where rows could not be computed again."""
        if self.differences or any(row.differences for row in self.rows):
            return DIFFERS
        return NOT_CHECKED if self.unchecked else EQUAL

    def text(self) -> str:
        """All of it, in sentences."""
        lines = [f"Files: {self.files} in the manifest. Signature: {self.signature}"]
        if self.differences:
            lines += ["Not as it was written:", *(f"  {text}" for text in self.differences)]
        else:
            what = "what was compared follows" if self.notes else "summary, tables and page follow"
            lines.append(f"Every hash holds; {what} from the records, and these from the journal.")
        lines += [f"Note: {text}" for text in self.notes]
        if self.rows:
            lines += [f"Computed again on this machine, {len(self.rows)} rows drawn with the seed {self.seed}:"]
            lines += [f"  {row.text}" for row in self.rows]
        if self.unchecked:
            lines.append(f"No row was computed again: {self.unchecked}")
        elif not self.asked:
            lines.append("No row was computed again: nobody asked (--rows 0).")
        ends = {EQUAL: "Nothing differs.", DIFFERS: "The evidence differs.", NOT_CHECKED: "Checked in part."}
        return "\n".join([*lines, ends[self.status]])


def verify(
    evidence: str | os.PathLike[str],
    *,
    public_key: str | os.PathLike[str] | None = None,
    rows: int = 3,
    seed: int | None = None,
    given: Mapping[str, Any] | None = None,
    trusted: bool = False,
    evaluation: AttackEvaluation | None = None,
) -> Verification:
    """Check evidence: every hash, all that follows from the records, and rows drawn at random computed once more.

    Nothing of the evidence is run or unpickled: configs and weights are those of this machine, taken by their hashes.

    Args:
        evidence: output folder of an evaluation, or the zip of `write_evidence`; only read.
        public_key: PEM file of the Ed25519 key that it must be signed by; None accepts it unsigned, and says so.
        rows: how many are computed once more; 0 for none.
        seed: of their draw; None for one that nobody knew before.
        given: overrides of this machine for the recorded command, such as ``dataset_dir``.
        trusted: run recorded overrides though they hold code.
        evaluation: built here, in the place of the recorded command; it is to have an `output_dir` of its own.

    Raises:
        EvidenceError: if it is no folder and no zip.
        ManifestError: if it has no manifest that can be read.
        SignatureError: if the key is none.
    """
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 0:
        raise ValueError(f"rows must be a whole number >= 0, got {rows!r}.")
    with opened(evidence) as (folder, wrong):
        found = Verification(files=len(read_manifest(folder)), asked=rows > 0)
        found.differences += dict.fromkeys([*wrong, *check_manifest(folder)])
        found.signature = _signature(folder, public_key, found.differences)
        read = _read(folder, found.differences)
        if read is None or found.differences:
            found.unchecked = "what its files say was not looked at, since they are not those that were written."
            return found
        spec, summary, outcomes = read
        derived, found.notes = check_derived(folder, spec, summary, outcomes)
        found.differences += derived
        if rows:
            _again(found, folder, read, rows, seed, dict(given or {}), trusted, evaluation)
        return found


def _signature(folder: Path, key: str | os.PathLike[str] | None, wrong: list[str]) -> str:
    path = folder / SIGNATURE_FILE
    if key is None:
        return "there is one; by whom, --public_key says." if path.is_file() else "none."
    name = name_of_key(key)
    if not path.is_file():
        wrong.append(f"it is not signed, and was to be by the key {name}.")
        return "none."
    if not is_signed_by((folder / MANIFEST_FILE).read_bytes(), path.read_bytes(), key):
        wrong.append(f"the signature is not that of the key {name} on this manifest.")
        return "another."
    return f"by the key {name}."


def _read(folder: Path, wrong: list[str]) -> tuple[EvaluationSpec, Summary, list[Outcome]] | None:
    """Spec, summary and records; None where they cannot be read, which is then one of the differences."""
    try:
        read = EvaluationSpec.read(folder), Summary.read(folder), read_records(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        wrong.append(f"spec.json, summary.json or records.jsonl cannot be read: {type(error).__name__}: {error}.")
        return None
    try:
        check_seal(folder)
    except DamagedRecordsError as error:
        wrong.append(f"{error}".partition(": run")[0].replace(f" of {str(folder)!r}", "") + ".")
    return read


def _again(
    found: Verification,
    folder: Path,
    read: tuple[EvaluationSpec, Summary, list[Outcome]],
    rows: int,
    seed: int | None,
    given: Mapping[str, Any],
    trusted: bool,
    evaluation: AttackEvaluation | None,
) -> None:
    spec, summary, outcomes = read
    found.seed = fresh_seed() if seed is None else seed
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as temporary:
        try:
            torch.set_num_threads(spec.threads)
            if evaluation is None:
                evaluation = evaluation_of(spec.again, Path(temporary), given, trusted=trusted, evidence=folder)
            found.differences += check_setting(evaluation, folder, spec, summary, outcomes)
            for case, slug in drawn(outcomes, rows, found.seed):
                found.rows.append(recompute(evaluation, folder, outcomes, case, slug))
        except NotAgainError as error:
            found.unchecked = str(error)
        finally:
            torch.set_num_threads(threads)
        if evaluation is not None and (other := versions_text(outcomes, spec, evaluation.device)):
            found.notes.append(f"{other}: figures may differ for that alone.")
