from __future__ import annotations

import csv

from monai_smia.records import COMPUTED, STORED, RowKey, Stage, SummaryRow
from monai_smia.report import summary_table, survival_table
from monai_smia.report.table import Table, cell

TABLE = Table(["", "a,b"], [["first", 1.5], ["second", None], ["", ""]])


def test_every_form_holds_every_cell() -> None:
    assert TABLE.text().splitlines() == ["         a,b", "first    1.5", "second  None", " " * 12]
    assert TABLE.markdown().splitlines() == ["| | a,b |", "|---|---|", "| first | 1.5 |", "| second | None |", "| | |"]
    read = list(csv.reader(TABLE.csv().splitlines()))
    assert read == [["", "a,b"], ["first", "1.5"], ["second", ""], ["", ""]]


def test_cells() -> None:
    assert [cell(v) for v in (None, 0.0, 1.0, 0.0004, 9.9996, 12.34, 3, "x")] == [
        *("-", "0", "1", "0.000", "10.000", "12.3", "3", "x")
    ]


BIM = RowKey("BIM", "iterations", eps=0.1, eps_input=10.0, steps=25)
ROWS = [
    SummaryRow(RowKey(), COMPUTED, 2, {"jaccard": 0.9, "seconds": 1.0, "hd95": None}),
    SummaryRow(BIM, COMPUTED, 2, {"jaccard": 0.5, "gradients": 25.0, "damage": 0.5}),
    SummaryRow(BIM, STORED, 2, {"jaccard": 0.6}, below_quantization=1),
    SummaryRow(BIM, Stage.after("smooth"), 2, {"jaccard": 0.7, "recovered": 0.25}),
]


def test_columns_without_a_value_or_of_no_interest_are_left_out() -> None:
    table = summary_table(ROWS)
    assert table.heads == ["attack", "setting", "eps", "eps_input", "stage", "gradients", "jaccard", "recovered"]
    assert table.lines[2][1:5] == ["25 iterations", "0.100", "10", "stored, 1 below quantization"]
    assert table.lines[0] == ["Clean", "", "-", "-", "computed", "-", "0.900", "-"]


def test_survival_of_every_attack() -> None:
    lines = survival_table(ROWS, "jaccard").splitlines()
    assert lines[1].split() == ["attack", "eps", "computed", "stored", "smooth"]
    assert lines[2].split() == ["BIM", "25", "iterations", "0.1", "0.500", "0.600", "0.250"]
    assert len(lines) == 3
