"""The summary of an evaluation: one row per attack, setting, radius and stage, made of records alone."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_smia.records.journal import replace_file
from monai_smia.analysis.statistics import intervals
from monai_smia.metrics import means

Record = Mapping[str, Any]
Summary = Callable[[Sequence[Record]], Mapping[str, Any]]

KEY = ("attack", "setting", "loss", "eps", "eps_input", "unit", "norm", "steps", "alpha", "stage")
BOOKKEEPING = ("case", "patient", "status", "reason", "kind", "key", "seed", "versions", "history", "strata", "erased")
COSTS = ("seconds", "gradients", "planned_gradients", "still_steps")
ENDS = ("_low", "_high")  # of an interval that a metric brings along
NOT_METRICS = (*KEY, *BOOKKEEPING)


def failed_cases(records: Sequence[Record]) -> set[str]:
    """Cases that could not be evaluated."""
    return {record["case"] for record in records if record["status"] == "failed"}


def groups_of(records: Sequence[Record]) -> dict[tuple[Any, ...], list[Record]]:
    """Records of complete cases by row, in the order in which rows first occur.

    A case that failed counts in no row, so that all rows are of the same cases.
    """
    groups: dict[tuple[Any, ...], list[Record]] = {}
    failed = failed_cases(records)
    for record in records:
        if record["status"] == "ok" and record["case"] not in failed:
            groups.setdefault(tuple(record.get(name) for name in KEY), []).append(record)
    return groups


def measured(record: Record) -> dict[str, Any]:
    """What was measured of a case: the record without its identity."""
    return {name: value for name, value in record.items() if name not in NOT_METRICS}


def summarize(
    records: Sequence[Record], summary: Summary = means, *, with_intervals: bool = False
) -> list[dict[str, Any]]:
    """One row per attack, setting, radius and stage: means over cases, and what the task's metrics say of them.

    A metric that is undefined for a case (None) is left out of its mean; None where it is undefined for all.

    Args:
        records: of all cases.
        summary: of the records of one row, as `monai_smia.metrics.CaseMetrics.summary`; what it says replaces the plain
            mean of the same name.
        with_intervals: add 95 % bootstrap intervals by patient, ``intervals`` ``{name: [low, high] or None}``.

    Returns:
        The rows in the order in which they first occur, each with the number of its cases as ``cases``, and with the
        number of those whose file can hold nothing of the perturbation as ``erased``, where there are any.

    Example:
        >>> records = [{"case": c, "attack": "BIM", "status": "ok", "jaccard": v} for c, v in (("a", 0.1), ("b", 0.3))]
        >>> [round(row["jaccard"], 3) for row in summarize(records)]
        [0.2]
    """
    rows = []
    for key, members in groups_of(records).items():
        values = [measured(member) for member in members]
        plain = means(values) | means([v for v in values if "gradients" in v], ("gradients",))
        row = {**dict(zip(KEY, key, strict=True)), "cases": len(members), **plain, **summary(values)}
        if erased := sum(bool(member.get("erased")) for member in members):
            row["erased"] = erased
        if with_intervals:
            patients = [{"case": m["case"], "patient": m.get("patient", m["case"])} for m in members]
            scores = [{n: v for n, v in value.items() if n not in COSTS} for value in values]
            known = [patient | score for patient, score in zip(patients, scores, strict=True)]
            found = intervals(known, summary)
            row["intervals"] = {name: value for name, value in found.items() if not name.endswith(ENDS)}
        rows.append(row)
    return rows


def write_summary(folder: Path, summary: Mapping[str, Any], records: Sequence[Record]) -> None:
    """Write ``summary.json``, ``records.jsonl`` and ``cases.csv``, each complete or not at all."""
    replace_file(folder / "records.jsonl", "".join(json.dumps(r, allow_nan=False) + "\n" for r in records))
    flat = [{n: v for n, v in record.items() if not isinstance(v, (list, dict))} for record in records]
    table = io.StringIO()
    writer = csv.DictWriter(table, list(dict.fromkeys(name for record in flat for name in record)))
    writer.writeheader()
    writer.writerows(flat)
    replace_file(folder / "cases.csv", table.getvalue())
    replace_file(folder / "summary.json", json.dumps(summary, indent=2, allow_nan=False))
