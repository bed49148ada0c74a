"""What a dataset says of a case beside its image and label: whose it is, and what cases are compared by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STRATA = "strata"
COLUMN = "strata_"  # begins the name of a table's column, such as strata_scanner


def carried(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``patient`` and ``strata`` of a row or an item, as an evaluation takes them; what is empty is left out.

    Args:
        row: of a table, with a column ``patient`` and columns ``strata_<name>``; or an item of a JSON list, with
            ``patient`` and a dictionary ``strata``.
        where: it stands, for messages.

    Raises:
        ValueError: if ``strata`` is no dictionary.

    Example:
        >>> carried({"file": "a.nii.gz", "patient": "P1", "strata_scanner": "A"}, "row 1")
        {'patient': 'P1', 'strata': {'scanner': 'A'}}
    """
    strata = row.get(STRATA) or {}
    if not isinstance(strata, Mapping):
        raise ValueError(f"dataset_dir: {where} must have strata as a dictionary of names and values, got {strata!r}.")
    columns = {name.removeprefix(COLUMN): value for name, value in row.items() if name.startswith(COLUMN) and value}
    groups = {str(name): str(value) for name, value in {**strata, **columns}.items()}
    patient = row.get("patient")
    known = {"patient": str(patient)} if patient not in (None, "") else {}
    return {**known, **({STRATA: groups} if groups else {})}
