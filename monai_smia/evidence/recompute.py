"""Rows of an evaluation computed once more, and compared with its records to the last digit."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from monai_smia.analysis import groups_of, summary_of
from monai_smia.analysis.acceptance import judge
from monai_smia.evaluation import AttackEvaluation, PlannedAttack
from monai_smia.evaluation.facts import about_of, spec_of
from monai_smia.evaluation.fingerprint import digest, input_hash
from monai_smia.evaluation.plan import share_of
from monai_smia.evaluation.probe import probing_attack
from monai_smia.evaluation.progress import versions
from monai_smia.evaluation.volumes import stem_of
from monai_smia.evidence.derived import same
from monai_smia.records import EvaluationSpec, Outcome, Record, Summary, current, read_journals
from monai_smia.storage.stored import files_by_stem
from monai_smia.victims.preprocessing import as_plain

TIME = ("seconds",)  # differs from run to run
MADE_OF = ("input_sha256", "weights_sha256", "config_sha256", "versions")
MOST = 4  # values of a difference that are named
NEAR = 1e-6  # of a value: another machine's rounding


@dataclass(frozen=True)
class Recomputed:
    """One row of one case, computed once more.

    Args:
        case: its name.
        row: its label.
        differences: sentences; none where every record is equal.
        rounded: whether values differ, all by less than `NEAR` of them.
        compared: how many values.
    """

    case: str
    row: str
    differences: list[str]
    rounded: bool = False
    compared: int = 0

    @property
    def text(self) -> str:
        """In a sentence."""
        if self.differences:
            return f"{self.case}, {self.row}: differs: {'; '.join(self.differences)}."
        how = f"to {NEAR:g} of each" if self.rounded else "to the last digit"
        return f"{self.case}, {self.row}: equal, {self.compared} values {how}."


def drawn(outcomes: Sequence[Outcome], count: int, seed: int) -> list[tuple[str, str]]:
    """Cases and slugs of rows that are drawn at random, each once.

    Args:
        outcomes: of the evaluation.
        count: how many, or all where there are fewer.
        seed: of the draw.
    """
    every = list(dict.fromkeys((o.case, o.row.slug) for o in outcomes if isinstance(o, Record)))
    return random.Random(seed).sample(every, min(count, len(every)))


def check_setting(
    evaluation: AttackEvaluation, folder: Path, spec: EvaluationSpec, summary: Summary, outcomes: list[Outcome]
) -> Iterator[str]:
    """What of plan, cases, configuration and summary is not that of the evaluation on this machine, in sentences.

    Args:
        evaluation: built here.
        folder: of the evidence.
        spec, summary, outcomes: read from it.
    """
    cases = {outcome.case for outcome in outcomes}
    if cases != set(evaluation.names):
        yield f"the cases are others: {_few(sorted(cases ^ set(evaluation.names)))} are only on one side."
    configuration = evaluation.make_progress().configuration
    hashes = {o.provenance.config_sha256 for o in outcomes if o.provenance is not None}
    if hashes != {digest(configuration)}:
        yield f"the configuration is another: {_configured(folder, configuration)}."
    slugs = [row.row.slug for row in spec.rows]
    planned = [row for row in evaluation.plan if row.slug in slugs]
    attacks = {
        line.key: line.attack for keys in current(read_journals(folder / "journal")).values() for line in keys.values()
    }
    others = [row.slug for row in planned if attacks.get(row.slug, digest(row)) != digest(row)]
    if others or [row.slug for row in planned] != slugs or _rounds(evaluation.plan, planned):
        yield f"the plan is another: {_few(others or sorted({*slugs} ^ {row.slug for row in evaluation.plan}))}."
    settings: dict[str, Any] = {"unit": evaluation.unit, "device": torch.device(evaluation.device)}
    here = spec_of(
        evaluation.victim, planned, evaluation.metrics, cases=evaluation.cases, about=about_of(evaluation), **settings
    ).to_json()
    there = json.loads(json.dumps(spec.to_json(), default=str))
    here = json.loads(json.dumps(here, default=str))
    for name in ("network", "gradient_through", "unit", "primary", "rows", "about", "sampled"):
        if not same(here[name], there[name]):
            yield f"spec.json: {name} is not that of the evaluation here."
    expected = summary_of(
        outcomes,
        evaluation.metrics,
        cases=len(evaluation.cases),
        unit=evaluation.unit,
        tolerance=evaluation.tolerance,
        share=share_of(evaluation.plan),
    )
    expected.criteria = judge(evaluation.criteria, groups_of(outcomes), expected.critical_radii)
    found, made = summary.to_json(), expected.to_json()
    if wrong := [name for name in made if not same(found[name], made[name])]:
        yield f"summary.json: {', '.join(wrong)} are not what the task's metrics make of the records."


def recompute(
    evaluation: AttackEvaluation, folder: Path, outcomes: Sequence[Outcome], case: str, slug: str
) -> Recomputed:
    """Compute a row of a case once more, its stored image included, and compare.

    Args:
        evaluation: built here, with an output folder of its own.
        folder: of the evidence.
        outcomes: read from it.
        case: name of the case.
        slug: of the row.
    """
    records = [o for o in outcomes if isinstance(o, Record) and (o.case, o.row.slug) == (case, slug)]
    label = records[0].row.label
    row = next((row for row in evaluation.plan if row.slug == slug), None)
    item = next((item for item in evaluation.cases if item["case"] == case), None)
    if row is None or item is None:
        return Recomputed(case, label, [f"the evaluation here has no such {'row' if row is None else 'case'}"])
    origin = records[0].provenance
    if origin is not None and origin.input_sha256 != input_hash(item):
        return Recomputed(case, label, ["its files are others"])
    evaluate_row = replace(evaluation.row_evaluator(evaluation.output_dir), figure=None)
    prepared = evaluate_row.figures.prepare(evaluation.load(item))
    probe = probing_attack(evaluation.plan) if any(record.probe for record in records) else None
    paths: list[Path] = []
    made = evaluate_row(prepared, row, probe_with=probe, settle=lambda _, path: paths.append(path))
    wrong, rounded, compared = _compared(records, made)
    wrong += _images(evaluation, folder, paths, stem_of(case, slug))
    return Recomputed(case, label, wrong, rounded, compared)


def _compared(before: Sequence[Record], after: Sequence[Record]) -> tuple[list[str], bool, int]:
    if [str(record.stage) for record in before] != [str(record.stage) for record in after]:
        return ["it has other stages"], False, 0
    wrong: list[str] = []
    rounded, compared = False, 0
    for one, other in zip(before, after, strict=True):
        old, new = (json.loads(json.dumps(record.to_json())) for record in (one, other))
        for name in dict.fromkeys((*old, *new)):
            if name in (*TIME, *MADE_OF, "patient"):
                continue
            compared += 1
            if old.get(name) == new.get(name):
                continue
            if _near(old.get(name), new.get(name)):
                rounded = True
            else:
                told = (_short(value.get(name)) for value in (old, new))
                wrong.append(f"{one.stage} {name} {' in the evidence, '.join(told)} here")
    more = [f"and {len(wrong) - MOST} more values"] if len(wrong) > MOST else []
    return wrong[:MOST] + more, rounded, compared


def _images(evaluation: AttackEvaluation, folder: Path, paths: Sequence[Path], stem: str) -> list[str]:
    """Whether the adversarial image in the evidence, where it is kept, is the one that was stored here."""
    if not paths or evaluation.storage is None:
        return []
    kept = files_by_stem(folder / paths[0].parent.name, {stem}).get(stem, [])
    there = next((path for path in kept if path.name == paths[0].name), None)
    if there is None:
        return []
    try:
        one, other = (as_plain(evaluation.storage.read(path)) for path in (there, paths[0]))
    except Exception as error:  # a reader of any kind may refuse a damaged file
        return [f"its adversarial image cannot be read: {type(error).__name__}"]
    return [] if torch.equal(one, other) else ["its adversarial image is another"]


def versions_text(outcomes: Sequence[Outcome], spec: EvaluationSpec, device: Any) -> str:
    """Where versions or device are others than those of the evidence, which ones; empty where they are the same."""
    here = ", ".join(f"{name} {number}" for name, number in versions().items())
    there = next((o.provenance.versions for o in outcomes if o.provenance is not None), here)
    told = [f"it was made with {there}, here is {here}"] if here != there else []
    if str(device) != spec.device:
        told.append(f"it was made on {spec.device}, here is {device}")
    return "; ".join(told)


def _configured(folder: Path, configuration: Mapping[str, Any]) -> str:
    """The first parts of the configuration that differ."""
    path = folder / "journal" / "configuration.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "its own description cannot be read"
    now = json.loads(json.dumps(configuration))
    return _few([name for name in now if before.get(name) != now[name]] or ["its own description says otherwise"])


def _rounds(plan: Sequence[PlannedAttack], planned: Sequence[PlannedAttack]) -> bool:
    """Whether rows are missing of a round that was run."""
    last = max((row.key().round or 1 for row in planned), default=1)
    return len([row for row in plan if (row.key().round or 1) <= last]) != len(planned)


def _near(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_near, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_near(value, other[name]) for name, value in one.items())
    if type(one) is float and type(other) is float:
        return abs(one - other) <= NEAR * max(abs(one), abs(other))
    return bool(one == other)


def _short(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)[:40]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")


def fresh_seed() -> int:
    """A seed that nobody who made the evidence could know."""
    return int.from_bytes(os.urandom(4), "big")
