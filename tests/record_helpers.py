"""Records for tests, from the few values that a test is about."""

from __future__ import annotations

from typing import Any

from monai_smia.analysis.summary import Group
from monai_smia.records import Costs, Probe, Record, RowKey, Stage
from monai_smia.records.parts import COST_FIELDS
from monai_smia.records.rows import ROW_FIELDS

KNOWLEDGE = {"Clean": None, "Noise": "none", "Square": "black box", "Transfer": "transfer"}


def record(attack: str = "BIM", case: str = "a", stage: str = "computed", **values: Any) -> Record:
    """A record; values that are no fields are metrics."""
    values.setdefault("knowledge", KNOWLEDGE.get(attack, "white box"))
    row = RowKey(attack, **{name: values.pop(name) for name in ROW_FIELDS if name in values})
    costs = Costs(**{name: values.pop(name) for name in COST_FIELDS if name in values})
    own = {name: values.pop(name) for name in ("patient", "history", "strata", "seed") if name in values}
    probe: Probe | None = values.pop("probe", None)
    return Record(row, Stage.parse(stage), case, metrics=values, costs=costs, probe=probe, **own)


def group(*records: Record) -> Group:
    return Group(records[0].row, records[0].stage, list(records))
