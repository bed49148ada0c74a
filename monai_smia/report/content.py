"""What a report says, as one JSON document: everything that a reader of a robustness figure has to ask for.

`SCHEMA` (``report.schema.json`` beside this file) describes it.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ignite.distributed as idist
import torch

from monai_smia.attacks.iterative import IterativeAttack
from monai_smia.analysis.comparisons import (
    differences,
    every_case,
    extremes,
    primary_of,
    row_name,
    strata_of,
    worst_cases,
)
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.analysis.statistics import patient_of
from monai_smia.analysis.summary import groups_of
from monai_smia.metrics import means

if TYPE_CHECKING:
    from monai_smia.evaluation.runner import AttackEvaluation

SCHEMA = Path(__file__).with_name("report.schema.json")
PARAMETERS = ("steps", "step_size", "alpha", "random_start", "restarts", "targeted", "stop_at", "keep", "seed")
IDENTITY = ("attack", "loss", "setting", "norm", "eps", "eps_input", "unit", "steps", "alpha")
LIMITATIONS = (
    "A figure holds for these cases, this radius and these attacks; a stronger attack may do more damage.",
    "Eps is a bound on the size of a perturbation, not on how likely one is to occur.",
    "Intervals cover the choice of patients, not errors of the reference labels or another scanner.",
)

Record = Mapping[str, Any]


def report_content(
    evaluation: AttackEvaluation, summary: Mapping[str, Any], records: Sequence[Record]
) -> dict[str, Any]:
    """The document.

    Args:
        evaluation: what was run; its ``about`` may hold ``metadata`` (a bundle's metadata.json), ``intended_use``,
            ``acceptance`` (criterion and its source, in words), ``hazard`` and ``limitations``.
        summary: as in ``summary.json``.
        records: all of them.
    """
    about = evaluation.about
    metadata = json.loads(Path(about["metadata"]).read_text(encoding="utf-8")) if about.get("metadata") else {}
    groups = groups_of(records)
    name, higher = primary_of(evaluation.metrics, summary["rows"])
    case_name, case_higher = primary_of(evaluation.metrics, records)
    done = [record for record in records if record["status"] == "ok"]
    first: Record = done[0] if done else {}
    inputs = {record["case"]: record for record in records}
    cases = every_case(groups, case_name, case_higher)
    return {
        "format": "monai_smia report 1",
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "intended_use": about.get("intended_use") or metadata.get("intended_use"),
        "model": {
            "name": metadata.get("name") or type(evaluation.victim.network).__name__,
            "version": metadata.get("version"),
            "network": type(evaluation.victim.network).__name__,
            "task": metadata.get("task"),
            "weights_sha256": first.get("weights_sha256"),
            "config_sha256": first.get("config_sha256"),
        },
        "data": {
            "cases": summary["cases"],
            "evaluated": summary["evaluated"],
            "patients": len({patient_of(record) for record in inputs.values()}),
            "excluded": [{n: failure.get(n) for n in ("case", "kind", "reason")} for failure in summary["failures"]],
            "inputs": [{"case": case, "sha256": record.get("input_sha256")} for case, record in inputs.items()],
            "strata": strata_of(cases),
        },
        "threat_model": _threat_model(evaluation),
        "attacks": [_parameters(row) for row in evaluation.attacks if row.attack is not None],
        "primary": {"metric": name, "higher_is_better": higher, "case_metric": case_name},
        "rows": summary["rows"],
        "worst_case": worst_cases(groups, case_name, case_higher),
        "cases": cases,
        "differences": differences(groups, case_name),
        "budget": _budget(summary["rows"]),
        "survival": _survival(summary["rows"], name),
        "constraint": _constraint(groups),
        "extremes": extremes(groups, case_name, case_higher),
        "flags": summary["flags"],
        "acceptance": about.get("acceptance"),
        "hazard": about.get("hazard"),
        "limitations": [*about.get("limitations", ()), *LIMITATIONS],
        "reproduce": {
            "command": shlex.join(["python", *sys.orig_argv[1:]]),
            "versions": first.get("versions"),
            "commit": source_commit(),
            "device": str(evaluation.device),
            "processes": idist.get_world_size(),
            "threads": torch.get_num_threads(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "seconds": summary["seconds"],
        },
    }


def source_commit() -> str | None:
    """The commit that this package was run from, ``-dirty`` where files have changed since; None if there is no git."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        tracked = subprocess.run(
            ["git", "-C", str(here), "ls-files", "--error-unmatch", __file__], capture_output=True, check=False
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return None
    return done.stdout.strip() if tracked.returncode == done.returncode == 0 else None


def _parameters(row: PlannedAttack) -> dict[str, Any]:
    """What an attack was run with; None where it has no such argument."""
    attack: Any = row.attack
    step = getattr(attack, "step_size", None)
    if step is None and isinstance(attack, IterativeAttack):
        step = attack.default_step_size(attack.eps)
    named = {"attack": row.name, "loss": row.loss, "setting": row.setting, "eps": row.eps}
    return {
        "row": row_name(named),
        "loss": row.loss,
        "norm": attack.norm,
        "eps_input": attack.eps,
        **{name: getattr(attack, name, None) for name in PARAMETERS},
        "step_size": step,
    }


def _threat_model(evaluation: AttackEvaluation) -> dict[str, Any]:
    attacks = [row for row in evaluation.attacks if row.attack is not None]
    radii = {(row.eps, row.attack.eps, row.attack.norm) for row in attacks if row.attack is not None}
    targeted = any(row.attack.targeted for row in attacks if row.attack is not None)
    return {
        "taxonomy": "NIST AI 100-2e2025: evasion at deployment time",
        "goal": f"integrity violation, {'targeted' if targeted else 'untargeted'}",
        "knowledge": "white box: weights, preprocessing and inferer are known",
        "capability": "changes every voxel of the image within the radius",
        "gradient_through": [
            type(part).__name__
            for part in (evaluation.victim.preprocessing, evaluation.victim.inferer, evaluation.victim.network)
            if part is not None
        ],
        "radii": [
            {"eps": eps, "eps_input": eps_input, "unit": evaluation.unit, "norm": norm}
            for eps, eps_input, norm in sorted(radii, key=str)
        ],
    }


def _budget(rows: Sequence[Record]) -> list[dict[str, Any]]:
    """Radius and gradients of every attack side by side, and whether they are those of the others of its setting."""
    found = [
        {**{n: row.get(n) for n in IDENTITY}, "gradients": row.get("gradients"), "seconds": row.get("seconds")}
        for row in rows
        if row["stage"] == "computed" and row["attack"] != "Clean"
    ]
    iterated = [entry for entry in found if (entry["steps"] or 0) > 1]
    for entry in found:
        peers = [
            float(e["gradients"] or 0) for e in iterated if (e["eps"], e["setting"]) == (entry["eps"], entry["setting"])
        ]
        entry["most_gradients_of_setting"] = max(peers, default=None)
    return found


def _survival(rows: Sequence[Record], name: str) -> list[dict[str, Any]]:
    """Every row as computed, after storage, and after every degradation (``after smooth``, ...)."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(row.get(n) for n in IDENTITY)
        nothing: dict[str, Any] = {"row": row_name(row), "computed": None, "stored": None, "erased": 0, "after": {}}
        entry = found.setdefault(key, nothing)
        entry["erased"] += row.get("erased", 0)
        if row["stage"] in entry:
            entry[row["stage"]] = row.get(name)
        else:
            entry["after"][row["stage"]] = row.get(name)
    return [entry for entry in found.values() if entry["stored"] is not None or entry["after"]]


def _constraint(groups: Mapping[Any, Sequence[Record]]) -> list[dict[str, Any]]:
    """The largest change of a voxel over all cases, against the radius."""
    return [
        {
            "row": row_name(members[0]),
            "stage": members[0]["stage"],
            "eps_input": members[0]["eps_input"],
            "norm": members[0]["norm"],
            "largest_change": max((r["linf"] for r in members if r.get("linf") is not None), default=None),
            "at_bound": means(members, ["at_bound"])["at_bound"],
        }
        for members in groups.values()
        if members[0]["attack"] != "Clean" and members[0]["stage"] in ("computed", "stored")
    ]
