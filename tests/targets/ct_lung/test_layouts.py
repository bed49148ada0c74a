from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from monai_smia.targets.ct_lung import ct_datalist

KAGGLE_FOLDERS = {"ct_scan": "ct_scans", "lung_mask": "lung_masks", "infection_mask": "infection_masks"}
KAGGLE_FOLDERS["lung_and_infection_mask"] = "lung_and_infection_mask"


def real_data(name: str) -> Path:
    root = Path(os.environ.get("MONAI_SMIA_DATA", Path(__file__).parents[3] / "shared" / "data")) / name
    if not root.is_dir():
        pytest.skip(f"needs the real data in {root}: set MONAI_SMIA_DATA")
    return root


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def labels_folder(root: Path, rows: str = "a.nii.gz,a_lung.nii.gz,train\nb.nii,b_lung.nii,test\n") -> Path:
    touch(root, "a.nii.gz", "a_lung.nii.gz", "b.nii", "b_lung.nii")
    (root / "labels.csv").write_text("file,lung_mask,split\n" + rows)
    return root


def kaggle_folder(root: Path) -> Path:
    lines = [",".join(KAGGLE_FOLDERS)]
    for i in (1, 2):
        names = [f"coronacases_org_00{i}.nii", *[f"coronacases_00{i}.nii"] * 3]
        touch(root, *(f"{folder}/{name}" for folder, name in zip(KAGGLE_FOLDERS.values(), names, strict=True)))
        lines.append(
            ",".join(f"../input/covid19-ct-scans/{f}/{n}" for f, n in zip(KAGGLE_FOLDERS.values(), names, strict=True))
        )
    (root / "metadata.csv").write_text("\n".join(lines))
    return root


def json_folder(root: Path, name: str = "dataset.json", **lists: list[object]) -> Path:
    touch(root, *(f"{folder}/c{i}.nii.gz" for folder in ("imagesTr", "labelsTr") for i in range(4)))
    (root / name).write_text(json.dumps({"name": "lungs", **lists}))
    return root


def item(i: int) -> dict[str, object]:
    return {"image": f"./imagesTr/c{i}.nii.gz", "label": f"./labelsTr/c{i}.nii.gz"}


def cases(path: Path, split: str | None = None) -> list[str]:
    return [entry["case"] for entry in ct_datalist(path, split=split)]


def test_labels_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels_folder(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "set"
    assert ct_datalist("set", split="test") == [
        {"image": str(root / "b.nii"), "label": str(root / "b_lung.nii"), "case": "b"}
    ]
    assert cases(root) == cases(root / "labels.csv") == ["a", "b"]
    assert cases(root, "train") == ["a"]


@pytest.mark.parametrize("target", ["lung", "infection", "lung_and_infection"])
def test_kaggle(tmp_path: Path, target: str) -> None:
    root = kaggle_folder(tmp_path)
    first, _ = ct_datalist(root, target=target)
    assert first["image"] == str(root / "ct_scans" / "coronacases_org_001.nii")
    assert first["label"] == str(root / KAGGLE_FOLDERS[f"{target}_mask"] / "coronacases_001.nii")
    assert first["case"] == "coronacases_org_001"
    assert ct_datalist(root / "metadata.csv", target=target) == ct_datalist(root, target=target)


def test_kaggle_folders_may_be_singular(tmp_path: Path) -> None:
    root = kaggle_folder(tmp_path)
    (root / "lung_masks").rename(root / "lung_mask")
    assert ct_datalist(root)[1]["label"] == str(root / "lung_mask" / "coronacases_002.nii")


def test_decathlon(tmp_path: Path) -> None:
    root = json_folder(tmp_path, training=[item(0), item(1)], validation=[item(2)], test=["./imagesTr/c3.nii.gz"])
    assert (cases(root, "train"), cases(root, "test"), cases(root)) == (["c0", "c1"], ["c2"], ["c0", "c1", "c2"])
    assert ct_datalist(root)[0]["label"] == str(root / "labelsTr" / "c0.nii.gz")


def test_decathlon_with_a_labeled_test_list(tmp_path: Path) -> None:
    root = json_folder(tmp_path, "lists.json", training=[item(0)], validation=[item(1)], test=[item(2)])
    assert (cases(root, "train"), cases(root, "validation"), cases(root, "test")) == (["c0"], ["c1"], ["c2"])
    assert cases(root / "lists.json") == ["c0", "c1", "c2"]


def test_order_of_the_layouts(tmp_path: Path) -> None:
    labels_folder(tmp_path)
    (tmp_path / "phantoms.json").write_text('{"version": 1}')  # a JSON that is no datalist
    (tmp_path / "broken.json").write_text("{")
    assert cases(tmp_path) == ["a", "b"]
    json_folder(tmp_path, "lists.json", training=[item(0)])
    assert cases(tmp_path) == ["c0"]
    json_folder(tmp_path, training=[item(1)])  # dataset.json goes first
    assert cases(tmp_path) == ["c1"]
    kaggle_folder(tmp_path)
    assert cases(tmp_path) == ["coronacases_org_001", "coronacases_org_002"]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"dataset_dir .*nowhere does not exist(?s:.)*metadata.csv"):
        ct_datalist(tmp_path / "nowhere")


def test_unknown_layout_lists_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, *(f"f{i:02d}.png" for i in range(12)))
    with pytest.raises(
        ValueError, match=r"dataset_dir .*f00.png.*f09.png and 2 more(?s:.)*Kaggle(?s:.)*decathlon(?s:.)*labels.csv"
    ) as e:
        ct_datalist(tmp_path)
    assert "f10" not in str(e.value)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"it holds nothing"):
        ct_datalist(tmp_path)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (
            "a.nii.gz,a_lung.nii.gz,train\nz.nii,b_lung.nii,test\n",
            FileNotFoundError,
            r"row 2 of labels.csv names .*z\.nii",
        ),
        ("a.nii.gz,z_lung.nii,train\n", FileNotFoundError, r"row 1 of labels.csv names .*z_lung\.nii"),
        ("a.nii.gz,,train\n", ValueError, r"target='lung': row 1 .*a\.nii\.gz"),
        (",a_lung.nii.gz,train\n", ValueError, "row 1 of labels.csv has an empty 'file'"),
        ("b.nii,b_lung.nii,x\nb.nii,b_lung.nii,x\n", ValueError, "row 1 .* and row 2 .* the case 'b'"),
        ("", ValueError, "lists no labeled case"),
    ],
)
def test_bad_rows(tmp_path: Path, rows: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ct_datalist(labels_folder(tmp_path, rows))


def test_files_of_other_splits_are_not_needed(tmp_path: Path) -> None:
    assert cases(labels_folder(tmp_path, "a.nii.gz,a_lung.nii.gz,train\nz.nii,z_lung.nii,test\n"), "train") == ["a"]


def test_split_that_selects_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"split='val' .*splits there: test, train"):
        ct_datalist(labels_folder(tmp_path), split="val")


def test_split_of_a_dataset_without_splits(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"split='train' .*take split='all', or hold patients out"):
        ct_datalist(kaggle_folder(tmp_path), split="train")


def test_unknown_target(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"target must be one of lung, infection, lung_and_infection, got 'liver'"):
        ct_datalist(labels_folder(tmp_path), target="liver")


def test_target_that_the_table_lacks(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"target='infection' needs a column 'infection_mask' .*file, lung_mask, split"
    ):
        ct_datalist(labels_folder(tmp_path), target="infection")


def test_table_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("id,grade\n1,2\n")
    with pytest.raises(ValueError, match=r"dataset_dir needs a column 'file' .*id, grade"):
        ct_datalist(tmp_path)


def test_several_datalists(tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        json_folder(tmp_path, name, training=[item(0)])
    with pytest.raises(ValueError, match=r"one.json, two.json"):
        ct_datalist(tmp_path)
    assert cases(tmp_path / "two.json") == ["c0"]


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 1}'])
def test_json_that_is_no_datalist(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=r"x.json is no datalist"):
        ct_datalist(tmp_path / "x.json")


@pytest.mark.parametrize("entry", [{"image": "./imagesTr/c0.nii.gz"}, {"image": ["a", "b"], "label": "c"}])
def test_datalist_items_need_one_image_and_label(tmp_path: Path, entry: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r'item 1 of "training" in dataset.json'):
        ct_datalist(json_folder(tmp_path, training=[item(0), entry]))


def test_real_dataset() -> None:
    root = real_data("ct")
    assert [len(ct_datalist(root, split=split)) for split in ("train", "test", None)] == [3, 1, 4]
    assert cases(root, "test") == ["covidctmd_normal002"]
