"""What a report says, as one JSON document: everything that a reader of a robustness figure has to ask for.

`SCHEMA` (``report.schema.json`` beside this file) describes it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from monai_smia.evaluation.plan import EQUAL_RADIUS, PAPER
from monai_smia.evaluation.statistics import paired_difference, patient_of, worst_case
from monai_smia.evaluation.summary import groups_of

if TYPE_CHECKING:
    from monai_smia.evaluation.runner import AttackEvaluation

SCHEMA = Path(__file__).with_name("report.schema.json")
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
    cases = {record["case"]: record for record in records}
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
            "patients": len({patient_of(record) for record in cases.values()}),
            "excluded": [{n: failure.get(n) for n in ("case", "kind", "reason")} for failure in summary["failures"]],
            "inputs": [{"case": case, "sha256": record.get("input_sha256")} for case, record in cases.items()],
        },
        "threat_model": _threat_model(evaluation),
        "primary": {"metric": name, "higher_is_better": higher, "case_metric": case_name},
        "rows": summary["rows"],
        "worst_case": _worst_cases(groups, case_name, case_higher),
        "differences": _differences(groups, case_name),
        "budget": _budget(summary["rows"]),
        "survival": _survival(summary["rows"], name),
        "constraint": _constraint(groups),
        "extremes": _extremes(groups, case_name, case_higher),
        "flags": summary["flags"],
        "acceptance": about.get("acceptance"),
        "hazard": about.get("hazard"),
        "limitations": [*about.get("limitations", ()), *LIMITATIONS],
        "reproduce": {
            "command": " ".join(sys.argv),
            "versions": first.get("versions"),
            "device": str(evaluation.device),
            "threads": torch.get_num_threads(),
            "seconds": summary["seconds"],
        },
    }


def primary_of(metrics: Any, records: Sequence[Record]) -> tuple[str, bool]:
    """Name of the headline metric, and whether higher is better.

    Where the records or rows do not have it (average precision is said of no single case), it is the attack's damage.
    """
    name = getattr(metrics, "primary", "damage")
    if any(isinstance(record.get(name), float) for record in records):
        return name, bool(getattr(metrics, "higher_is_better", True))
    return "damage", False


def row_name(row: Record) -> str:
    """An attack with what tells it apart.

    Example:
        >>> row_name({"attack": "PGD", "loss": "soft_jaccard", "setting": "equal radius", "eps": 0.05})
        'PGD soft_jaccard, equal radius, eps 0.05'
    """
    parts = [" ".join(str(row[n]) for n in ("attack", "loss") if row.get(n)), row.get("setting")]
    parts.append(None if row.get("eps") is None else f"eps {row['eps']:g}")
    return ", ".join(part for part in parts if part)


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


def _computed(groups: Mapping[Any, Sequence[Record]]) -> dict[tuple[Any, ...], Sequence[Record]]:
    return {key: members for key, members in groups.items() if members[0]["stage"] == "computed"}


def _worst_cases(groups: Mapping[Any, Sequence[Record]], name: str, higher: bool) -> list[dict[str, Any]]:
    """Per radius: the worst of all attacks within it, case by case."""
    radii: dict[tuple[Any, ...], dict[str, Sequence[Record]]] = {}
    for members in _computed(groups).values():
        first = members[0]
        if first["attack"] != "Clean":
            radii.setdefault((first["eps"], first["eps_input"], first["norm"]), {})[row_name(first)] = members
    found = []
    for (eps, eps_input, norm), rows in sorted(radii.items(), key=str):
        worst = worst_case(rows, name, lowest=higher)
        found.append({"eps": eps, "eps_input": eps_input, "norm": norm, **worst})
    return found


def _differences(groups: Mapping[Any, Sequence[Record]], name: str) -> list[dict[str, Any]]:
    """SMIA against every other attack of its radius, and every attack against the clean images, case by case."""
    rows = list(_computed(groups).values())
    clean = next((members for members in rows if members[0]["attack"] == "Clean"), None)
    smia = {m[0]["eps"]: m for m in rows if (m[0]["attack"], m[0]["setting"]) == ("SMIA", EQUAL_RADIUS)}
    found = []
    for members in rows:
        first = members[0]
        against = {"Clean": clean, "SMIA": smia.get(first["eps"])}
        for reference, others in against.items():
            if others is None or others is members or first["attack"] == "Clean":
                continue
            if reference == "SMIA" and first["setting"] == PAPER:
                continue
            difference = paired_difference(members, others, name)
            found.append({"row": row_name(first), "minus": row_name(others[0]), **difference})
    return found


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
    """Every row as computed, after storage, and after every handling (``after smooth``, ...)."""
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
        }
        for members in groups.values()
        if members[0]["attack"] != "Clean" and members[0]["stage"] in ("computed", "stored")
    ]


def _extremes(groups: Mapping[Any, Sequence[Record]], name: str, higher: bool) -> list[dict[str, Any]]:
    """Of every attack the case with the most and the one with the least damage."""
    found = []
    for members in _computed(groups).values():
        known = sorted((r for r in members if r.get(name) is not None), key=lambda r: r[name], reverse=not higher)
        if known and members[0]["attack"] != "Clean":
            worst, best = known[0], known[-1]
            found.append(
                {
                    "row": row_name(members[0]),
                    "worst": {"case": worst["case"], "value": worst[name]},
                    "best": {"case": best["case"], "value": best[name]},
                }
            )
    return found
