from __future__ import annotations

import csv
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
import pytest

from monai_smia.records import COMPUTED, STORED, RowKey, Stage, SummaryRow
from monai_smia.report import summary_table, survival_table
from monai_smia.report.table import Table, cell, decimals_of, length, with_interval

TABLE = Table(["", "a,b"], [["first", 1.5], ["second", None], ["", ""]])


def test_every_form_holds_every_cell() -> None:
    assert TABLE.text().splitlines() == ["         a,b", "first    1.5", "second  None", " " * 12]
    assert TABLE.markdown().splitlines() == ["| | a,b |", "|---|---|", "| first | 1.5 |", "| second | None |", "| | |"]
    read = list(csv.reader(TABLE.csv().splitlines()))
    assert read == [["", "a,b"], ["first", "1.5"], ["second", ""], ["", ""]]


def test_no_radius_is_shown_as_none() -> None:
    assert [length(v) for v in (None, 0.0, 0.00039216, 5e-5, 0.012, 0.05, 12.75)] == [
        *("-", "0", "0.000392", "5e-05", "0.012", "0.050", "12.8")
    ]


def test_cells() -> None:
    assert [cell(v) for v in (None, 0.0, 1.0, 0.0004, 9.9996, 12.34, 3, "x")] == [
        *("-", "0", "1", "0.000", "10.000", "12.3", "3", "x")
    ]


def test_two_digits_of_the_width_are_told() -> None:
    rng = np.random.default_rng(0)
    for size in range(-3, 2):
        for width in 10.0**size * rng.uniform(1, 9.9, 20):
            low = float(rng.uniform(-1, 1))
            found = decimals_of([low, low + width])
            digits = (Decimal(width) * 10 ** Decimal(found)).to_integral_value(ROUND_FLOOR)
            assert 10 <= digits <= 99, (width, found)
    assert [decimals_of([0.4, 0.5]), decimals_of([0.0, 120.0]), decimals_of([0.0, 1e-9])] == [2, 0, 4]
    assert [decimals_of(None), decimals_of([0.5, 0.5])] == [None, None]


def test_value_and_ends_have_the_same_decimals() -> None:
    assert with_interval(1.0, [0.931, 1.0]) == "1.000 [0.931, 1.000]"
    assert with_interval(1.0, [0.81, 1.0]) == "1.00 [0.81, 1.00]"
    assert with_interval(23.456, [18.2, 31.9]) == "23 [18, 32]"
    assert with_interval(-0.0004, [-0.06, 0.06]) == "0.00 [-0.06, 0.06]"
    assert with_interval(0.5, None) == "0.500"
    assert with_interval(None, None) == "-"


BIM = RowKey("BIM", "iterations", eps=0.1, eps_input=10.0, steps=25)
ROWS = [
    SummaryRow(RowKey(), COMPUTED, 2, {"jaccard": 0.9, "seconds": 1.0, "hd95": None}),
    SummaryRow(BIM, COMPUTED, 2, {"jaccard": 0.5, "gradients": 25.0, "damage": 0.5}),
    SummaryRow(BIM, STORED, 2, {"jaccard": 0.6}, below_quantization=1),
    SummaryRow(BIM, Stage.after("smooth"), 2, {"jaccard": 0.7, "recovered": 0.25}),
]


def test_columns_without_a_value_or_of_no_interest_are_left_out() -> None:
    table = summary_table(ROWS, "jaccard")
    assert table.heads == ["attack at eps 0.1", "stage", "jaccard", "gradients"]
    assert [list(line) for line in table.lines] == [
        ["Clean", "computed", "0.900", "-"],
        ["BIM", "computed", "0.500", "25"],
        ["BIM", "stored, 1 below quantization", "0.600", "-"],
    ]


def many(attack: str, stage: Stage, jaccard: float, **row: Any) -> SummaryRow:
    """A row with more metrics than a line holds."""
    own = {"setting": "equal radius", "eps": 0.05, "eps_input": 70.0, "unit": "HU"} | row
    metrics = {"jaccard": jaccard, "gradients": 10.0, "dice": 0.5, "linf": 70.0 if stage == COMPUTED else 69.0}
    metrics |= {f"metric_{i}": 0.25 for i in range(12)} | {f"jaccard_{organ}": 0.5 for organ in ("liver", "spleen")}
    return SummaryRow(RowKey(attack, **own), stage, 1, metrics)


def test_stored_and_computed_are_one_line_where_they_print_alike() -> None:
    rows = [
        many("PGD", COMPUTED, 0.50001),
        many("PGD", STORED, 0.5),
        many("BIM", COMPUTED, 0.6),
        many("BIM", STORED, 0.7),
    ]
    table = summary_table(rows, "jaccard")
    assert table.heads[:4] == ["attack at 70 HU", "stage", "jaccard", "gradients"]
    assert [line[:3] for line in table.lines] == [
        ["PGD", "both", "0.500"],
        ["BIM", "computed", "0.600"],
        ["BIM", "stored", "0.700"],
    ]
    assert "linf" not in table.heads  # which a file rounds: it would make two lines of one
    assert len(summary_table(rows[:2], "jaccard").lines) == 1
    twins = [many("PGD", COMPUTED, 0.5), many("PGD", COMPUTED, 0.5, setting="mine")]
    assert [line[:3] for line in summary_table(twins, "jaccard").lines] == [
        ["PGD", "", "0.500"],
        ["PGD", "mine", "0.500"],
    ]


def test_a_line_fits_the_terminal_whatever_there_is() -> None:
    rows = [many(attack, COMPUTED, 0.5, loss="soft_jaccard") for attack in ("APGD", "NetworkSpaceAttack(CosPGD)")]
    for width in (40, 80, 100, 300):
        lines = summary_table(rows, "jaccard", width=width).text().splitlines()
        assert len(lines) == 3
        assert all(len(line) <= max(width, 55) for line in lines)  # attack and headline metric are always there
    heads = summary_table(rows, "jaccard").heads
    assert heads[1:4] == ["jaccard", "gradients", "dice"]
    assert "jaccard_liver" not in heads  # single structures have tables of their own, on the page


def test_radii_and_settings_are_columns_where_there_are_several_and_earlier_rounds_are_left_out() -> None:
    rows = [many("Clean", COMPUTED, 0.9, eps=None, eps_input=None, setting="")]
    rows += [many("SMIA", COMPUTED, 0.5), many("SMIA", COMPUTED, 0.4, setting="paper", eps=0.5, eps_input=700.0)]
    table = summary_table(rows, "jaccard")
    assert table.heads[:4] == ["attack", "setting", "radius", "jaccard"]
    assert [line[:3] for line in table.lines] == [
        ["Clean", "", "-"],
        ["SMIA", "", "70 HU"],
        ["SMIA", "paper", "700 HU"],
    ]
    rounds = [many("APGD", COMPUTED, 0.6 - i / 10, setting=f"round {i}") for i in (1, 2)]
    table = summary_table([*rows[:2], *rounds], "jaccard")
    assert [line[:2] for line in table.lines] == [["Clean", "0.900"], ["SMIA", "0.500"], ["APGD", "0.400"]]
    l2 = [many("PGD", COMPUTED, 0.5, norm=norm, eps=0.1, eps_input=0.1, unit="") for norm in ("linf", "l2")]
    assert [line[1] for line in summary_table(l2, "jaccard").lines] == ["eps 0.1", "eps 0.1 L2"]


def test_the_terminal_has_the_decimals_of_the_page() -> None:
    """Two digits of the interval's width, for the headline, the other metrics and what storage leaves."""
    intervals: list[dict[str, Any]] = [
        {"jaccard": [0.81, 0.97]},  # .16 wide: two decimals
        {"jaccard": [0.4512, 0.4587], "dice": [0.1, 0.9]},  # .0075: four
        {"jaccard": [0.3, 0.7]},
        {"recovered": [0.2, 0.3], "jaccard": None},
    ]
    rows = [replace(row, intervals=each) for row, each in zip(ROWS, intervals, strict=True)]
    rows[1].metrics["dice"] = 0.625
    table = summary_table(rows, "jaccard")
    assert [list(line) for line in table.lines] == [
        ["Clean", "computed", "0.90", "-", "-"],
        ["BIM", "computed", "0.5000", "25", "0.62"],
        ["BIM", "stored, 1 below quantization", "0.60", "-", "-"],
    ]
    for row, line in zip(rows, table.lines, strict=False):
        assert with_interval(row.value("jaccard"), row.interval("jaccard")).partition(" ")[0] == line[2]
    assert survival_table(rows, "jaccard").splitlines()[2].split()[4:] == ["0.5000", "0.60", "0.25"]


def test_survival_of_every_attack() -> None:
    lines = survival_table(ROWS, "jaccard").splitlines()
    assert lines[1].split() == ["attack", "eps", "computed", "stored", "smooth"]
    assert lines[2].split() == ["BIM", "25", "iterations", "0.1", "0.500", "0.600", "0.250"]
    assert len(lines) == 3


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "  =1", "\t=1"])
def test_a_spreadsheet_computes_no_cell(text: str) -> None:
    lines = Table(["name", text], [[text, -0.5], [None, "plain"]]).csv().splitlines()
    assert [line.lstrip('"')[0] for line in (lines[0].split(",")[1], lines[1])] == ["'", "'"]
    assert lines[1].endswith(",-0.5")
    assert lines[2] == ",plain"
