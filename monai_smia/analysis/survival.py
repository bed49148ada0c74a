"""How much of an attack is left after the usual degradation of an image."""

from __future__ import annotations

from collections.abc import Sequence

from monai_smia.records import Stage, SummaryRow

MIN_ORACLE_EFFECT = 0.01  # where even the oracle changes the metric by less, a share of it says nothing


def add_recovered(rows: Sequence[SummaryRow], primary: str) -> None:
    """Say in every row after a degradation which share of the possible damage is left.

    ``recovered = (clean - attacked) / (clean - oracle)``, all three after the degradation, the oracle being the same
    attack with as many gradients through that degradation alone; None where the oracle itself does next to nothing.

    Args:
        rows: of a summary; changed in place.
        primary: name of the metric.

    Example:
        >>> from monai_smia.records import RowKey
        >>> after, oracle, bim = Stage.after("smooth"), Stage.oracle("smooth"), RowKey("BIM", eps=0.1)
        >>> rows = [SummaryRow(RowKey(), after, 2, {"jaccard": 0.9}), SummaryRow(bim, after, 2, {"jaccard": 0.5})]
        >>> add_recovered([*rows, SummaryRow(bim, oracle, 2, {"jaccard": 0.1})], "jaccard")
        >>> rows[1].value("recovered")
        0.5
    """
    found = {(row.row, row.stage): row.value(primary) for row in rows}
    clean = {row.stage: row.value(primary) for row in rows if row.row.is_clean}
    for row in rows:
        if row.stage.is_after and not row.row.is_clean:
            oracle = found.get((row.row, Stage.oracle(row.stage.degradation)))
            row.metrics["recovered"] = _share(clean.get(row.stage), row.value(primary), oracle)


def _share(clean: float | None, attacked: float | None, oracle: float | None) -> float | None:
    if clean is None or attacked is None or oracle is None or abs(clean - oracle) < MIN_ORACLE_EFFECT:
        return None
    return (clean - attacked) / (clean - oracle)
