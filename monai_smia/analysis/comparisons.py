"""What a report compares: attacks case by case, cases and strata with each other, pictures worth a look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from monai_smia.evaluation.plan import EQUAL_RADIUS, PAPER
from monai_smia.analysis.statistics import paired_difference, patient_of, worst_case
from monai_smia.metrics import CaseMetrics

Record = Mapping[str, Any]
Groups = Mapping[tuple[Any, ...], Sequence[Record]]


def primary_of(metrics: CaseMetrics, records: Iterable[Record]) -> tuple[str, bool]:
    """Name of the headline metric, and whether higher is better.

    Where the records or rows do not have it (average precision is said of no single case), it is the attack's damage.
    """
    if any(isinstance(record.get(metrics.primary), float) for record in records):
        return metrics.primary, metrics.higher_is_better
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


def computed(groups: Groups) -> list[Sequence[Record]]:
    """The rows as they were computed, before any storage."""
    return [members for members in groups.values() if members[0]["stage"] == "computed"]


def worst_cases(groups: Groups, name: str, higher: bool) -> list[dict[str, Any]]:
    """Per radius, the smallest first: the worst of all attacks within it, case by case."""
    found = []
    for (eps, eps_input, norm), rows in _by_radius(groups).items():
        found.append({"eps": eps, "eps_input": eps_input, "norm": norm, **worst_case(rows, name, lowest=higher)})
    return found


def every_case(groups: Groups, name: str, higher: bool) -> list[dict[str, Any]]:
    """Every case clean and under the worst attack within the smallest radius, the most damaged first."""
    radii = _by_radius(groups)
    attacks = radii[next(iter(radii))] if radii else {}
    clean = {r["case"]: r for members in computed(groups) if members[0]["attack"] == "Clean" for r in members}
    found: dict[str, dict[str, Any]] = {}
    for row, members in attacks.items():
        for record in members:
            value, entry = record.get(name), found.get(record["case"])
            if value is None or (entry and (value >= entry["worst"] if higher else value <= entry["worst"])):
                continue
            before = clean.get(record["case"], {}).get(name)
            found[record["case"]] = {
                "case": record["case"],
                "patient": patient_of(record),
                "strata": record.get("strata") or {},
                "clean": before,
                "worst": value,
                "difference": None if before is None else value - before,
                "by": row,
            }
    return sorted(found.values(), key=lambda entry: entry["worst"], reverse=not higher)


def strata_of(cases: Sequence[Record]) -> list[dict[str, Any]]:
    """Means over the cases of every stratum (voxel spacing, scanner, ...), where the cases are of more than one.

    Args:
        cases: as from `every_case`.

    Example:
        >>> case = {"clean": 0.9, "worst": 0.5}
        >>> [(s["value"], s["cases"]) for s in strata_of([{**case, "strata": {"kernel": k}} for k in "aab"])]
        [('a', 2), ('b', 1)]
    """
    found: dict[tuple[str, str], list[Record]] = {}
    for case in cases:
        for name, value in case["strata"].items():
            found.setdefault((name, value), []).append(case)
    names = [name for name, _ in found]
    return [
        {
            "name": name,
            "value": value,
            "cases": len(members),
            **{end: _mean(members, end) for end in ("clean", "worst")},
        }
        for (name, value), members in sorted(found.items())
        if names.count(name) > 1
    ]


def differences(groups: Groups, name: str) -> list[dict[str, Any]]:
    """SMIA against every other attack of its radius, and every attack against the clean images, case by case."""
    rows = computed(groups)
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


def extremes(groups: Groups, name: str, higher: bool) -> list[dict[str, Any]]:
    """Of every attack the case with the most and the one with the least damage, the first ones of equals."""
    found = []
    for members in computed(groups):
        known = [r for r in members if r.get(name) is not None]
        if known and members[0]["attack"] != "Clean":
            ends = [pick(known, key=lambda r: r[name]) for pick in ((min, max) if higher else (max, min))]
            worst, best = ({"case": r["case"], "value": r[name]} for r in ends)
            slug = ends[0]["key"].removeprefix(f"{ends[0]['case']}|")
            found.append({"row": row_name(members[0]), "slug": slug, "worst": worst, "best": best})
    return found


def _by_radius(groups: Groups) -> dict[tuple[Any, ...], dict[str, Sequence[Record]]]:
    """Attacks by eps, eps in the image's unit and norm, the smallest radius first."""
    radii: dict[tuple[Any, ...], dict[str, Sequence[Record]]] = {}
    for members in computed(groups):
        first = members[0]
        if first["attack"] != "Clean":
            radii.setdefault((first["eps"], first["eps_input"], first["norm"]), {})[row_name(first)] = members
    return dict(sorted(radii.items(), key=lambda item: (item[0][0] or 0.0, item[0][2])))


def _mean(records: Sequence[Record], name: str) -> float | None:
    values = [record[name] for record in records if record[name] is not None]
    return float(np.mean(values)) if values else None
