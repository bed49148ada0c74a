"""Splits that a dataset names, and patients held out where it names none, in every layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.data import partition_dataset_classes
from PIL import Image

from monai_smia.targets.ct_lung import ct_datalist
from monai_smia.targets.endoscopy import endoscopy_datalist
from monai_smia.targets.fundus import fundus_datalist
from monai_smia.targets.splits import folds


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    """Kaggle's diabetic retinopathy, both eyes of ten persons, named out of order."""
    (tmp_path / "train").mkdir()
    rows = [
        f"{person}_{side},{person % 5}" for side in ("right", "left") for person in (31, 7, 5, 12, 9, 1, 2, 8, 4, 6)
    ]
    (tmp_path / "trainLabels.csv").write_text("\n".join(["image,level", *rows]) + "\n")
    for row in rows:
        (tmp_path / "train" / f"{row.split(',')[0]}.jpeg").write_bytes(b"")
    return tmp_path


def names(items: list[dict[str, Any]]) -> set[str]:
    return {item["case"] for item in items}


def test_persons_are_held_out_whole(kaggle: Path) -> None:
    test, train = (fundus_datalist(kaggle, split=split, held_out=0.3) for split in ("test", "train"))
    assert (len(test), len(train)) == (6, 14)
    assert {item["patient"] for item in test} & {item["patient"] for item in train} == set()
    assert names(test) | names(train) == names(fundus_datalist(kaggle, split="all")) == names(fundus_datalist(kaggle))
    assert test == fundus_datalist(kaggle, split="test", held_out=0.3)
    assert names(test) != names(fundus_datalist(kaggle, split="test", held_out=0.3, split_seed=1))


def test_who_is_held_out_does_not_hang_on_the_order_of_the_table(kaggle: Path) -> None:
    before = names(fundus_datalist(kaggle, split="test", held_out=0.3))
    head, *rows = (kaggle / "trainLabels.csv").read_text().splitlines()
    (kaggle / "trainLabels.csv").write_text("\n".join([head, *sorted(rows)]))
    assert names(fundus_datalist(kaggle, split="test", held_out=0.3)) == before


@pytest.mark.parametrize(("share", "tested"), [(0.001, 2), (0.999, 18)])
def test_neither_part_is_empty(kaggle: Path, share: float, tested: int) -> None:
    assert len(fundus_datalist(kaggle, split="test", held_out=share)) == tested


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"split": "test"},
            r"split='test' selects no case .*trainLabels.csv; it names no splits: .*split='all'.*held_out",
        ),
        ({"split": "all", "held_out": 0.2}, r"held_out=0\.2 is for the splits train and test .*split='all'"),
        ({"held_out": 0.2}, "split=None"),
        ({"split": "val", "held_out": 0.2}, "split='val'"),
        ({"split": "test", "held_out": 1.0}, r"between 0 and 1, got 1\.0"),
        ({"split": "test", "held_out": True}, "between 0 and 1, got True"),
        ({"split": "test", "held_out": "fifth"}, "between 0 and 1, got 'fifth'"),
    ],
)
def test_what_means_nothing_is_refused(kaggle: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fundus_datalist(kaggle, **arguments)


def test_one_patient_alone_and_splits_that_are_named(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "labels.csv").write_text("file,lung_mask,patient\na.nii,a.nii,P\nb.nii,b.nii,P\n")
    with pytest.raises(ValueError, match=r"held_out=0\.5 needs two patients at least, got 1"):
        ct_datalist(tmp_path, split="test", held_out=0.5)
    (tmp_path / "labels.csv").write_text("file,lung_mask,split\na.nii,a.nii,train\nb.nii,b.nii,test\n")
    with pytest.raises(ValueError, match="of a dataset that names none; its splits are test, train"):
        ct_datalist(tmp_path, split="test", held_out=0.5)
    assert names(ct_datalist(tmp_path, split="all")) == {"a", "b"}


def test_a_coco_file_is_no_split_that_its_name_does_not_say(tmp_path: Path) -> None:
    for name in "abcd":
        Image.new("RGB", (20, 20)).save(tmp_path / f"{name}.png")
    images = [{"id": number, "file_name": f"{name}.png"} for number, name in enumerate("abcd")]
    content = {"images": images, "annotations": [], "categories": []}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="it names no splits"):  # else a test would be what was trained on
        endoscopy_datalist(tmp_path, classes=["polyp"], split="test")
    parts = [endoscopy_datalist(tmp_path, classes=["polyp"], split=s, held_out=0.25) for s in ("test", "train")]
    assert [len(part) for part in parts] == [1, 3]


def test_folds_keep_persons_together_and_leave_single_photographs_as_they_were() -> None:
    single = [{"label": n % 3, "case": n} for n in range(20)]
    assert folds(single, 5) == partition_dataset_classes(
        single, [item["label"] for item in single], num_partitions=5, shuffle=True, seed=0
    )
    pairs = [{"label": (n + side) % 5, "patient": str(n)} for n in range(40) for side in range(2)]
    parts = [{item["patient"] for item in part} for part in folds(pairs, 5)]
    assert sum(len(part) for part in parts) == 40 == len(set().union(*parts))
    with pytest.raises(ValueError, match="fold needs 5 patients at least, got 2"):
        folds(pairs[:4], 5)
    with pytest.raises(ValueError, match=r"fold needs 5 patients of every label at least, got 3 of 1\."):
        folds([{"label": int(n < 3)} for n in range(20)], 5)
