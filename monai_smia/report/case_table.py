"""Every record as a line of ``cases.csv``."""

from __future__ import annotations

from collections.abc import Sequence

from monai_smia.records import Outcome
from monai_smia.report.table import Table


def case_table(outcomes: Sequence[Outcome]) -> Table:
    """The plain values of every outcome, a line each; lists and mappings stand in ``records.jsonl`` alone."""
    flat = [
        {name: value for name, value in outcome.to_json().items() if not isinstance(value, (list, dict))}
        for outcome in outcomes
    ]
    heads = list(dict.fromkeys(name for line in flat for name in line))
    return Table(heads, [[line.get(name) for name in heads] for line in flat])
