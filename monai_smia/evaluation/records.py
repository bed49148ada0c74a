"""Records of an evaluation and the summary made of them."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from monai_smia.metrics import means

KEY = ("attack", "setting", "loss", "eps", "eps_input", "unit", "norm", "steps", "stage")
NOT_METRICS = (*KEY, "case", "status", "reason")


class RecordWriter:
    """Appends records to a JSON Lines file, each on disk before the next is computed.

    Args:
        path: the file; started anew.

    Example:
        >>> import tempfile
        >>> with RecordWriter(Path(tempfile.mkdtemp()) / "records.jsonl") as records:
        ...     records.add({"case": "a", "attack": "Clean", "status": "ok", "jaccard": 0.9})
        >>> records.all[0]["jaccard"]
        0.9
    """

    def __init__(self, path: Path) -> None:
        self.all: list[dict[str, Any]] = []
        self._file = path.open("w", encoding="utf-8")

    def add(self, record: Mapping[str, Any]) -> None:
        """Write one record."""
        self.all.append(dict(record))
        self._file.write(json.dumps(record, allow_nan=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def summarize(
    records: Sequence[Mapping[str, Any]], summary: Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Any]] = means
) -> list[dict[str, Any]]:
    """One row per attack, setting, radius and stage: means over cases, and what the task's metrics say of them.

    A metric that is undefined for a case (None) is left out of its mean; None where it is undefined for all. A case
    that failed counts in no row, so that all rows are of the same cases.

    Args:
        records: of all cases.
        summary: of the records of one row, as `monai_smia.metrics.CaseMetrics.summary`; what it says replaces
            the plain mean of the same name.

    Returns:
        The rows in the order in which they first occur, each with the number of its cases as ``cases``.

    Example:
        >>> records = [{"attack": "BIM", "status": "ok", "jaccard": v} for v in (0.1, 0.3)]
        >>> [round(row["jaccard"], 3) for row in summarize(records)]
        [0.2]
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    failed = {record.get("case") for record in records if record["status"] == "failed"}
    for record in records:
        if record["status"] == "ok" and record.get("case") not in failed:
            groups.setdefault(tuple(record.get(name) for name in KEY), []).append(record)
    rows = []
    for key, members in groups.items():
        measured = [{n: v for n, v in member.items() if n not in NOT_METRICS} for member in members]
        row = {**dict(zip(KEY, key, strict=True)), "cases": len(members)}
        plain = means(measured) | means(measured, ("gradients",))
        rows.append({**row, **plain, **summary(measured)})
    return rows


def write_summary(folder: Path, summary: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> None:
    """Write ``summary.json`` and ``cases.csv``, each complete or not at all."""
    _replace(folder / "summary.json", lambda file: json.dump(summary, file, indent=2, allow_nan=False))
    flat = [{n: v for n, v in record.items() if not isinstance(v, (list, dict))} for record in records]
    columns = list(dict.fromkeys(name for record in flat for name in record))

    def table(file: Any) -> None:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(flat)

    _replace(folder / "cases.csv", table)


def _replace(path: Path, write: Any) -> None:
    partial = path.with_name(f".{path.name}")
    with partial.open("w", encoding="utf-8", newline="") as file:
        write(file)
    os.replace(partial, path)
