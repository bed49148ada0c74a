from __future__ import annotations

from monai_smia.analysis.survival import add_recovered
from monai_smia.records import RowKey, Stage, SummaryRow

AFTER, ORACLE, BIM = Stage.after("x"), Stage.oracle("x"), RowKey("BIM", eps=0.1)


def row(key: RowKey, stage: Stage, jaccard: float | None) -> SummaryRow:
    return SummaryRow(key, stage, 1, {"jaccard": jaccard})


def test_the_share_is_of_the_own_oracle_and_degradation() -> None:
    rows = [row(RowKey(), AFTER, 0.9), row(BIM, AFTER, 0.5), row(BIM, ORACLE, 0.1)]
    other = RowKey("BIM", eps=0.2)
    rows += [row(other, AFTER, 0.5), row(other, ORACLE, 0.4), row(BIM, Stage.after("y"), 0.2)]
    add_recovered(rows, "jaccard")
    shares = [each.value("recovered") for each in rows]
    assert shares[1] == (0.9 - 0.5) / (0.9 - 0.1)
    assert shares[3] == (0.9 - 0.5) / (0.9 - 0.4)
    assert shares[5] is None  # after y there is neither clean nor oracle
    assert [index for index, each in enumerate(rows) if "recovered" in each.metrics] == [1, 3, 5]


def test_an_oracle_that_does_nothing_says_nothing() -> None:
    rows = [row(RowKey(), AFTER, 0.9), row(BIM, AFTER, 0.895), row(BIM, ORACLE, 0.895)]
    add_recovered(rows, "jaccard")
    assert rows[1].metrics["recovered"] is None
    assert "recovered" not in rows[0].metrics
