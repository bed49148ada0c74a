from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from monai_smia.targets.fundus import fundus_datalist


def table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def touch(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


@pytest.fixture
def aptos(tmp_path: Path) -> Path:
    table(tmp_path / "train.csv", ["id_code", "diagnosis"], [["a1", 2], ["b2", 0], ["c3", 4]])
    touch(tmp_path / "train_images", ["a1.png", "b2.png", "c3.png"])
    return tmp_path


def test_aptos(aptos: Path) -> None:
    items = fundus_datalist(aptos)
    assert [(item["case"], item["label"]) for item in items] == [("a1", 2), ("b2", 0), ("c3", 4)]
    assert items[0]["image"] == str(aptos / "train_images" / "a1.png")


def test_kaggle_takes_a_random_subset_by_seed(tmp_path: Path) -> None:
    names = [f"{i}_{side}" for i in range(10) for side in ("left", "right")]
    table(tmp_path / "trainLabels.csv", ["image", "level"], [[name, i % 5] for i, name in enumerate(names)])
    touch(tmp_path / "train", [f"{name}.jpeg" for name in names])
    subsets = [[i["case"] for i in fundus_datalist(tmp_path, max_cases=8, seed=seed)] for seed in (0, 0, 1)]
    assert subsets[0] == subsets[1] != subsets[2]
    assert len(set(subsets[0])) == 8
    assert subsets[0] == sorted(subsets[0], key=names.index)
    assert len(fundus_datalist(tmp_path, max_cases=11000)) == 20
    assert len(fundus_datalist(tmp_path, max_cases=2.0)) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["", "abc", "nan", float("nan"), True, [1], 1.5, -1, 0])
def test_how_many_is_a_whole_number(aptos: Path, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^max_cases must be None or a whole number >= 1, got ") as told:
        fundus_datalist(aptos, max_cases=value)
    assert str(told.value).endswith(f"got {value!r}.")


def test_labels_csv_with_splits_and_edema(tmp_path: Path) -> None:
    rows = [["images/a.jpg", "train", 3, 2], ["images/b.jpg", "test", 1, 0]]
    table(tmp_path / "labels.csv", ["file", "split", "dr_grade", "dme_risk"], rows)
    touch(tmp_path / "images", ["a.jpg", "b.jpg"])
    (item,) = fundus_datalist(tmp_path, split="train")
    assert item == {"image": str(tmp_path / "images" / "a.jpg"), "label": 3, "case": "a", "dme": 2}
    with pytest.raises(ValueError, match=r"split='validation' selects no case of .*; splits there: test, train"):
        fundus_datalist(tmp_path, split="validation")


def test_a_monai_datalist(tmp_path: Path) -> None:
    touch(tmp_path / "photos", ["a.jpg", "b.jpg", "c.jpg"])
    lists = {"training": [("a", 3), ("b", 0)], "test": [("c", 4)]}
    content = {k: [{"image": f"photos/{n}.jpg", "label": g} for n, g in items] for k, items in lists.items()}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert [(i["case"], i["label"]) for i in fundus_datalist(tmp_path)] == [("a", 3), ("b", 0), ("c", 4)]
    (test,) = fundus_datalist(tmp_path, split="test")
    assert test == {"image": str(tmp_path / "photos" / "c.jpg"), "label": 4, "case": "c"}
    for item, message in (({"image": "photos/a.jpg"}, 'item 0 of "training" needs'), ({"image": "a", "label": 7}, "7")):
        (tmp_path / "dataset.json").write_text(json.dumps({"training": [item]}))
        with pytest.raises(ValueError, match=message):
            fundus_datalist(tmp_path)


def test_a_table_without_splits(aptos: Path) -> None:
    with pytest.raises(ValueError, match=r"split='test' selects no case of .*it names no splits: take split='all'"):
        fundus_datalist(aptos, split="test")


def test_idrid(shared_data) -> None:  # type: ignore[no-untyped-def]
    folder = shared_data("fundus")
    counts = {s: Counter(item["label"] for item in fundus_datalist(folder, split=s)) for s in ("train", "test")}
    assert counts == {"train": {0: 134, 1: 20, 2: 136, 3: 74, 4: 49}, "test": {0: 19, 1: 4, 2: 15, 3: 9, 4: 3}}


def test_missing_files_are_named(aptos: Path) -> None:
    (aptos / "train_images" / "b2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"train.csv names images that do not exist: \['.*b2.png'\]"):
        fundus_datalist(aptos)


@pytest.mark.parametrize("grade", [5, -1, "2.0", "", "severe"])
def test_a_grade_outside_of_the_scale(aptos: Path, grade: object) -> None:
    table(aptos / "train.csv", ["id_code", "diagnosis"], [["a1", 2], ["b2", grade]])
    with pytest.raises(ValueError, match=rf"train.csv, row 2: diagnosis must be 0, 1, 2, 3 or 4, got '{grade}'"):
        fundus_datalist(aptos)


def test_a_class_absent_from_the_data(aptos: Path) -> None:
    assert len(fundus_datalist(aptos)) == 3
    with pytest.raises(ValueError, match=r"train.csv must hold every grade for training, grades \[1, 3\] are absent"):
        fundus_datalist(aptos, need_all_grades=True)


def test_other_bad_folders(aptos: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"dataset_dir .*nowhere does not exist"):
        fundus_datalist(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"has no known layout, expected one of: train.csv \(id_code, diagnosis\)"):
        fundus_datalist(tmp_path / "empty")
    table(aptos / "train.csv", ["id_code", "level"], [["a1", 2]])
    with pytest.raises(ValueError, match=r"needs the columns \['diagnosis'\], it has: id_code, level"):
        fundus_datalist(aptos)
    table(aptos / "train.csv", ["id_code", "diagnosis"], [])
    with pytest.raises(ValueError, match="has no rows"):
        fundus_datalist(aptos)
    table(aptos / "train.csv", ["id_code", "diagnosis"], [["a1", 2], ["a1", 2]])
    with pytest.raises(ValueError, match=r"names images more than once: \['a1'\]"):
        fundus_datalist(aptos)
