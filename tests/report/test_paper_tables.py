from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from monai_smia.attacks import BIM, READINGS, SMIA, DeepFool, Reading
from monai_smia.evaluation import tables_plan, write_tables
from monai_smia.records import COMPUTED, Summary, SummaryRow
from monai_smia.records.rows import ALPHA, is_as_the_paper
from monai_smia.report.published import TABLE_1, TABLE_6


def summary(**options: Any) -> Summary:
    """As if every attack left of a metric a figure that tells its row: 0.1 * steps * eps."""
    rows = []
    for row in tables_plan(0.05, unit_scale=1 / 1400, clip=(-1024, 3071), **options):
        metrics = {
            "accuracy": 0.001 * getattr(row.attack, "steps", 0),
            "jaccard": row.eps or 1.0,
            "cos": 60.0,
            "var": 0.25,
        }
        rows.append(SummaryRow(row.key("HU"), COMPUTED, 3, metrics, intervals={"jaccard": [0.01, 0.02]}))
    return Summary(rows, cases=3, evaluated=3)


def lines_of(text: str, title: str) -> dict[str, list[str]]:
    part = text.split(f"### {title}")[1].split("###")[0]
    rows = [[c.strip() for c in line.strip("|").split(" | ")] for line in part.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


def test_every_row_of_the_tables_is_planned_once() -> None:
    plan = tables_plan(0.01, extra=[DeepFool])
    assert len({row.slug for row in plan}) == len(plan)
    names = {(row.name, row.key().setting_label) for row in plan}
    assert {("DeepFool", "equal radius"), ("BIM", "25 iterations"), ("SMIA", "alpha 1.25"), ("SMIA", "paper")} <= names
    bims = [row.attack for row in plan if (row.name, row.setting) == ("BIM", "paper") and isinstance(row.attack, BIM)]
    assert [(bim.eps, bim.step_size) for bim in bims] == [(0.1, 0.01), (0.05, 0.005), (0.15, 0.015)]
    assert {row.key().alpha for row in plan if row.setting == ALPHA} == {0.75, 1.25}  # 0 is BIM, 1 is there
    assert {row.key().setting_label for row in plan if is_as_the_paper(row.setting)} == {
        "paper",
        *(f"paper, {steps} iterations" for steps in (15, 20, 25)),
        *(f"paper, alpha {alpha}" for alpha in (0.75, 1.25)),
    }
    assert all(row.attack.keep == "last" for row in plan if is_as_the_paper(row.setting) and row.attack)


def test_ours_beside_theirs(tmp_path: Path) -> None:
    columns = {"Acc(%)": "accuracy", "Jaccard(%)": "jaccard"}
    text = write_tables(tmp_path, summary(), dataset="COVID-19", columns=columns, eps=0.05)
    assert (tmp_path / "paper_tables.md").read_text() == text + "\n"
    flat = summary().to_json()  # as AttackEvaluation.run gives it
    assert write_tables(tmp_path, flat, dataset="COVID-19", columns=columns, eps=0.05) == text
    first = lines_of(text, "Table 1")
    assert first["DEV + STA, equal radius"] == ["1.0 \\| 60.82", "5.0 [1.0, 2.0] \\| 79.18", "60.0 \\| 63.21"]
    assert first["Clean"][0] == "0.0 \\| 87.82"
    second = lines_of(text, "Table 2")
    assert [cell.split()[0] for cell in second["SMIA"][::2]] == ["1.0", "1.5", "2.0", "2.5"]  # 10, 15, 20, 25 steps
    assert "0.5, 0.02" in " ".join(second["*paper, EAD-2019 (IOU, mAP): SMIA*"])
    third = lines_of(text, "Table 3")
    assert [cell.split()[0] for cell in third["PGD"][1::2]] == ["2.5", "5.0", "7.5"]
    for setting in ("equal radius", "paper"):
        found = list(lines_of(text, f"Table 4: alpha, {setting}"))
        assert found[1:] == ["alpha 0", "alpha 0.75", "alpha 1", "alpha 1.25"]
    there = [
        lines_of(text, f"Table {table}, paper")
        for table in ("2: iterations", "3: epsilon, as a multiple of the task's")
    ]
    assert [[cell.split()[0] for cell in table["PGD"][1::2]] for table in there] == [
        ["55.0", "80.0", "105.0", "130.0"],  # a tenth of steps + 1 times epsilon
        ["27.5", "55.0", "82.5"],
    ]
    sixth = lines_of(text, "Table 6")
    assert sixth["FGSM (= DEV), equal radius"][2:] == ["0.250", "0.25", "6.25e-04", "0.087"]  # theirs apart
    assert "Noise, equal radius" in sixth
    paper = {name: [float(cell) for cell in cells[2:5]] for name, cells in sixth.items() if name.endswith(", paper")}
    over = {"FGSM (= DEV), paper": 0.25, "PGD, paper": 0.25 * 1.1**2, "SMIA, paper": 0.25}  # the same square
    for name, reach in over.items():
        expected = (reach, 100 * reach, 0.5**2 * reach)  # of ten steps, of one, of no step
        for found, value in zip(paper[name], expected, strict=True):
            assert found == pytest.approx(value, rel=1e-2), name
    assert "column of its own" in text


def test_an_epsilon_of_the_papers_own_setting() -> None:
    found, columns = summary(paper_eps=0.005), {"Jaccard(%)": "jaccard"}
    text = write_tables(None, found, dataset="COVID-19", columns=columns, eps=0.05, paper_eps=0.005)
    assert "Epsilon is 0.005 here, 0.05 at equal radius." in text
    for setting, cells in (("equal radius", ["2.5", "5.0", "7.5"]), ("paper", ["2.8", "5.5", "8.2"])):
        lines = lines_of(text, f"Table 3: epsilon, as a multiple of the task's, {setting}")
        assert [cell.split()[0] for cell in lines["PGD"]] == cells
    sixth = lines_of(text, "Table 6")
    assert sixth["SMIA, equal radius"][1:4] == ["0.250", "0.25", "6.25e-04"]
    assert sixth["SMIA, paper"][1:4] == ["0.250", "25.00", "6.25e-04"]  # as far, in ten steps
    assert sixth["PGD, paper"][1] == "0.302"  # its start on top
    assert "Epsilon is" not in write_tables(None, summary(), dataset="COVID-19", columns=columns, eps=0.05)


def test_it_changes_the_rows_of_that_setting_alone() -> None:
    plan, other = (tables_plan(0.05, paper_eps=eps, readings=["hard, step, loss"]) for eps in (None, 0.005))
    assert [(row.name, row.setting) for row in plan] == [(row.name, row.setting) for row in other]
    for row, changed in zip(plan, other, strict=True):
        factor = 10 if is_as_the_paper(row.setting) else 1
        assert row.eps == (changed.eps and pytest.approx(factor * changed.eps))


def test_two_datasets_of_one_task(tmp_path: Path) -> None:
    also = {"Kaggle-DR": {"Acc(%)": "accuracy", "FPR(%)": "fpr"}}
    text = write_tables(tmp_path, summary(), dataset="APTOS-2019", columns={"Acc(%)": "accuracy"}, eps=0.05, also=also)
    assert (
        lines_of(text, "Table 6: comparison, beside the paper's on APTOS-2019")["SMIA, equal radius"][0]
        == "1.0 \\| 57.37"
    )
    assert lines_of(text, "Table 6: comparison, beside the paper's on Kaggle-DR")["SMIA, equal radius"][:2] == [
        "1.0 \\| 51.26",
        "- \\| 27.8",
    ]


def test_every_reading_has_a_row_in_both_settings() -> None:
    plan = tables_plan(0.05, readings="all")
    rows = {(row.key().as_the_paper, row.key().reading): row for row in plan if row.key().reading}
    assert {name for _, name in rows} == {reading.name for reading in READINGS if reading != Reading()}
    assert len(rows) == 2 * 13
    assert len({row.slug for row in plan}) == len(plan)
    for (as_there, name), row in rows.items():
        assert isinstance(row.attack, SMIA)
        own = Reading(row.attack.target, row.attack.offset, row.attack.divergence)
        assert own.name == name
        assert (row.attack.keep, row.key().is_within) == (("last", False) if as_there else ("best", True))
    assert not [row for row in tables_plan(0.05) if row.key().reading]
    assert len(tables_plan(0.05, readings="soft, total, loss")) == len(tables_plan(0.05))  # it is there


@pytest.mark.parametrize(
    ("readings", "told"),
    [("al", "such as soft, total, loss; "), (["hard, step, kl"], "None with target 'hard'"), (3, "got 3")],
)
def test_what_is_no_reading(readings: Any, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        tables_plan(0.05, readings=readings)


def test_readings_have_a_table_in_each_setting() -> None:
    plan = tables_plan(0.05, readings=["hard, step, loss", Reading("detached")], radii=[1], iterations=[])
    values = {"soft, total, loss": 0.3, "hard, step, loss": 0.1, "detached, total, loss": 0.2}
    rows = [
        SummaryRow(row.key("HU"), COMPUTED, 3, {"jaccard": values[row.key().reading or Reading().name], "cos": 60.0})
        for row in plan
    ]
    summary = Summary(rows, cases=3, evaluated=3)
    text = write_tables(None, summary, dataset="COVID-19", columns={"Jaccard(%)": "jaccard"}, eps=0.05)
    for setting in ("equal radius", "paper"):
        lines = lines_of(text, f"Readings of Eq. 3 and 4 (target, smoothed, divergence), {setting}")
        assert {name: cells[0] for name, cells in lines.items() if name} == {
            "DEV, without STA": "30.0",
            "soft, total, loss": "30.0",
            "hard, step, loss": "10.0",
            "detached, total, loss": "20.0",
        }


def test_the_challenges_score_of_the_published_figures() -> None:
    assert TABLE_1["EAD-2019"]["DEV + STA"]["ead"] == round(0.6 * 3.47 + 0.4 * 4.8, 2)
    assert "ead" not in TABLE_1["COVID-19"]["DEV"]


def test_unknown_dataset(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="COVID-19"):
        write_tables(tmp_path, summary(), dataset="MNIST", columns={}, eps=0.05)


def test_the_papers_own_tables_agree_where_they_overlap() -> None:
    for dataset in ("COVID-19", "EAD-2019", "APTOS-2019"):
        ours = {name: {m: v for m, v in row.items() if m != "cos"} for name, row in TABLE_1[dataset].items()}
        theirs = {name: {m: v for m, v in row.items() if m != "var"} for name, row in TABLE_6[dataset].items()}
        assert ours["DEV"] == theirs["FGSM"]  # their FGSM is their DEV
        assert ours["DEV + STA"] == theirs["SMIA"]


def test_table_6_has_the_columns_of_the_paper() -> None:
    """SMIA's row in the order of the paper's eleven columns."""
    row = [value for each in TABLE_6.values() for name, value in each["SMIA"].items() if name != "ead"]
    assert row == [60.82, 79.18, 0.001, 4.8, 3.47, 0.019, 57.37, 0.023, 51.26, 27.80, 0.041]
