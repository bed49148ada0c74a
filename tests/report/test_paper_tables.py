from __future__ import annotations

from pathlib import Path

import pytest

from monai_smia.attacks import BIM, DeepFool
from monai_smia.evaluation import tables_plan, write_tables
from monai_smia.records import COMPUTED, Summary, SummaryRow
from monai_smia.records.rows import ALPHA, AS_THE_PAPER
from monai_smia.report.published import TABLE_1, TABLE_6


def summary() -> Summary:
    """As if every attack left of a metric a figure that tells its row: 0.1 * steps * eps."""
    rows = []
    for row in tables_plan(0.05, unit_scale=1 / 1400, clip=(-1024, 3071)):
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
    assert {row.key().setting_label for row in plan if row.setting in AS_THE_PAPER} == {
        "paper",
        *(f"paper, {steps} iterations" for steps in (15, 20, 25)),
        *(f"paper, alpha {alpha}" for alpha in (0.75, 1.25)),
    }
    assert all(row.attack.keep == "last" for row in plan if row.setting in AS_THE_PAPER and row.attack)


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
    assert sixth["FGSM (= DEV), equal radius"][2].startswith("0.250 \\| 0.087")
    assert "Noise, equal radius" in sixth
    paper = {name: float(cells[-1].split()[0]) for name, cells in sixth.items() if name.endswith(", paper")}
    over = {"FGSM (= DEV), paper": 0.25, "PGD, paper": 0.25 * 1.1**2, "SMIA, paper": 0.25}  # the same square
    assert paper == pytest.approx(over, abs=1e-3)


def test_two_datasets_of_one_task(tmp_path: Path) -> None:
    also = {"Kaggle-DR": {"Acc(%)": "accuracy", "FPR(%)": "fpr"}}
    text = write_tables(tmp_path, summary(), dataset="APTOS-2019", columns={"Acc(%)": "accuracy"}, eps=0.05, also=also)
    assert lines_of(text, "Table 6: comparison, APTOS-2019")["SMIA, equal radius"][0] == "1.0 \\| 57.37"
    assert lines_of(text, "Table 6: comparison, Kaggle-DR")["SMIA, equal radius"][:2] == ["1.0 \\| 51.26", "- \\| 27.8"]


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
    row = [value for dataset in TABLE_6.values() for value in dataset["SMIA"].values()]
    assert row == [60.82, 79.18, 0.001, 4.8, 3.47, 0.019, 57.37, 0.023, 51.26, 27.80, 0.041]
