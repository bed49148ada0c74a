"""Equal pictures: none on both sides of a split, none parted by a fold."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles.shipped import FUNDUS
from PIL import Image

from monai_smia.targets.same_pictures import apart_from
from monai_smia.targets.splits import folds


def eye(case: str, value: int, **known: Any) -> dict[str, Any]:
    return {"case": case, "image": np.full((3, 8, 8), value, np.uint8), **known}


def test_what_others_show_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        kept = apart_from([eye("a", 1), eye("b", 2), eye("c", 3)], [eye("t", 2), eye("u", 9)], dict)
    assert [item["case"] for item in kept] == ["a", "c"]
    assert [record.getMessage() for record in caplog.records] == [
        "1 left out, of pictures that are not to be trained on: b."
    ]


def test_one_other_value_or_another_shape_is_another_picture() -> None:
    near, turned = eye("near", 1), {"case": "turned", "image": np.full((3, 4, 16), 1, np.uint8)}
    near["image"][0, 0, 0] = 2
    kept = apart_from([eye("a", 1), near, turned], [], dict)
    assert [item.get("patient") for item in kept] == [None] * 3


def test_equal_pictures_join_their_patients_whole() -> None:
    eyes = [eye("a_left", 1, patient="a"), eye("b_left", 1, patient="b"), eye("b_right", 2, patient="b"), eye("c", 2)]
    before = [dict(item) for item in eyes]
    kept = apart_from([*eyes, eye("d", 4)], [], dict)
    assert [item.get("patient") for item in kept] == ["a", "a", "a", "a", None]
    assert [item.get("patient") for item in eyes] == [item.get("patient") for item in before]  # copies were joined


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Thirty photographs to train on, of which two are equal and one is that of the split test."""
    values = [8 * number for number in range(30)]
    values[8], values[29] = values[0], 250
    rows = [(f"train_{n}.png", "train", n % 5, value) for n, value in enumerate(values)]
    rows.append(("test.png", "test", 0, 250))
    for name, _, _, value in rows:
        Image.fromarray(np.full((32, 32, 3), value, np.uint8)).save(tmp_path / name)
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "split", "dr_grade"), *(row[:3] for row in rows)])
    return tmp_path


def test_the_fundus_training_keeps_them_apart(photographs: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": str(photographs), "output_dir": str(tmp_path), "phantom_dir": str(tmp_path)}
    held_out, kept = zip(*(parts(fold, options) for fold in range(5)), strict=True)
    assert all(not set(one) & set(other) for one, other in zip(held_out, kept, strict=True))
    assert all(("train_0" in part) == ("train_8" in part) for part in held_out)
    assert sorted(case for part in held_out for case in part) == sorted(f"train_{number}" for number in range(29))


def parts(fold: int, options: dict[str, Any]) -> tuple[list[str], list[str]]:
    parser = FUNDUS.parser("train", fold=fold, **options)
    return tuple([p["case"] for p in parser.get_parsed_content(name)] for name in ("held_out_fold", "kept"))  # type: ignore[return-value]


@pytest.mark.slow
def test_of_idrid_one_photograph_is_left_out(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """As `benchmarks/identical_pictures.py` finds them."""
    parser = FUNDUS.parser("train", dataset_dir=str(shared_data("fundus")), output_dir=str(tmp_path))
    found = parser.get_parsed_content("photographs")
    named = [item["case"] for item in parser.get_parsed_content("split_photographs")]
    assert set(named) - {item["case"] for item in found} == {"train_IDRiD_118"}
    pairs = [(item["case"][-3:], item["patient"][-3:]) for item in found if "patient" in item]
    assert {pair for pair in pairs if pair[0] != pair[1]} == {
        ("391", "021"), ("327", "028"), ("333", "045"), ("375", "073"), ("279", "079")
    }  # fmt: skip
    for fold in folds(found, 5):
        numbers = {item["case"][-3:] for item in fold}
        assert all((one in numbers) == (other in numbers) for one, other in pairs)
