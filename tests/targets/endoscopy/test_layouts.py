from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dicom_picture_files import picture as dicom_picture
from dicom_picture_files import save_picture, scene
from PIL import Image

from monai_smia.targets.endoscopy import EAD_CLASSES, endoscopy_datalist, fitted_frames, write_artefact_frames

CLASSES = ["polyp", "bubbles"]


def picture(path: Path, size: tuple[int, int] = (200, 100)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (150, 80, 60)).save(path)
    return path


def table(folder: Path, *rows: str) -> Path:
    (folder / "labels.csv").write_text("\n".join(["file,split,class,x1,y1,x2,y2", *rows]) + "\n")
    return folder


def ead(folder: Path, text: str | None, names: str = "bubbles\npolyp\n") -> Path:
    picture(folder / "frames" / "a.jpg")
    (folder / "classes.txt").write_text(names)
    if text is not None:
        (folder / "frames" / "a.txt").write_text(text)
    return folder


def test_table(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    picture(tmp_path / "images" / "b.jpg")
    table(
        tmp_path,
        "images/a.jpg,train,polyp,10,20,30,40",
        "images/a.jpg,train,bubbles,0,0,200,100",
        "images/b.jpg,test,,,,,",
    )
    items = endoscopy_datalist(tmp_path, classes=CLASSES)
    assert [item["case"] for item in items] == ["a", "b"]
    assert items[0]["label"] == {"boxes": [[10, 20, 30, 40], [0, 0, 200, 100]], "labels": [0, 1]}
    assert items[1]["label"] == {"boxes": [], "labels": []}
    assert [i["case"] for i in endoscopy_datalist(tmp_path / "labels.csv", classes=CLASSES, split="test")] == ["b"]


def test_ead_text_files(tmp_path: Path) -> None:
    yolo = ead(tmp_path / "yolo", "1 0.5 0.5 0.2 0.4\nbubbles 0.05 0.1 0.1 0.2\n")
    voc = ead(tmp_path / "voc", "1 80 30 120 70\nbubbles 0 0 20 20\n")
    boxes = [[80, 30, 120, 70], [0, 0, 20, 20]]
    for folder, text_format in ((yolo, "yolo"), (voc, "voc")):
        (item,) = endoscopy_datalist(folder, classes=CLASSES, text_format=text_format)
        assert item["label"]["labels"] == [0, 1]  # in the order of the detector, not of the list
        for box, expected in zip(item["label"]["boxes"], boxes, strict=True):
            assert box == pytest.approx(expected)


@pytest.mark.parametrize(("images", "labels"), [("images", "labels"), ("images/train", "labels/train")])
def test_text_files_in_a_folder_of_their_own(tmp_path: Path, images: str, labels: str) -> None:
    picture(tmp_path / images / "a.png")
    (tmp_path / labels).mkdir(parents=True)
    (tmp_path / labels / "a.txt").write_text("")
    (tmp_path / "obj.names").write_text("polyp\n")
    split = "train" if "train" in images else None
    assert endoscopy_datalist(tmp_path, classes=CLASSES, split=split)[0]["label"]["boxes"] == []


def coco(folder: Path, **change: Any) -> Path:
    picture(folder / "train2017" / "a.jpg")
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 20, 30, 40]}],
        "categories": [{"id": 3, "name": "polyp"}],
        **change,
    }
    (folder / "instances_train.json").write_text(json.dumps(content))
    return folder


def test_coco(tmp_path: Path) -> None:
    (item,) = endoscopy_datalist(coco(tmp_path), classes=CLASSES)
    assert item["label"] == {"boxes": [[10, 20, 40, 60]], "labels": [0]}
    assert Path(item["image"]).name == "a.jpg"
    (tmp_path / "instances_val.json").write_text("{}")
    assert len(endoscopy_datalist(tmp_path, classes=CLASSES, split="train")) == 1
    with pytest.raises(ValueError, match="several datalists"):
        endoscopy_datalist(tmp_path, classes=CLASSES)


def test_artefact_frames_come_back_as_they_were_drawn(tmp_path: Path) -> None:
    folder = write_artefact_frames(tmp_path / "drawn", 3, size=(96, 80), seed=5)
    items = endoscopy_datalist(folder, classes=EAD_CLASSES)
    assert len(items) == 3
    assert sum(len(item["label"]["boxes"]) for item in items) > 3
    for item in items:
        assert all(value == pytest.approx(round(value), abs=1e-3) for box in item["label"]["boxes"] for value in box)
    written = (folder / "frame_00000.png").stat().st_mtime_ns
    write_artefact_frames(folder, 3, size=(96, 80), seed=5)
    assert (folder / "frame_00000.png").stat().st_mtime_ns == written  # complete: left as it is
    real = [picture(tmp_path / f"{i}.jpg", (300, 200)) for i in range(2)]
    over = write_artefact_frames(tmp_path / "over", 4, frames=real, size=(96, 80))
    assert Image.open(over / "frame_00003.png").size == (96, 64)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "classes.txt").write_text("polyp\n")
    with pytest.raises(FileExistsError, match="another dataset"):
        write_artefact_frames(tmp_path / "mine", 1)
    with pytest.raises(ValueError, match="frames must hold at least one"):
        write_artefact_frames(tmp_path / "none", 1, frames=[])
    for count in (0, -1, 1.5, "abc", True, [1]):
        with pytest.raises(ValueError, match="count must be a whole number >= 1, got"):
            write_artefact_frames(tmp_path / "none", count)  # type: ignore[arg-type]


def test_nothing_is_drawn_on_dicom(tmp_path: Path) -> None:
    path = save_picture(dicom_picture(scene(0, (64, 64))), tmp_path / "a.dcm")
    with pytest.raises(ValueError, match=r"frames must be picture files to draw on, got DICOM, a\.dcm: it goes into"):
        write_artefact_frames(tmp_path / "out", 1, frames=[str(path)], size=(64, 64))


def test_fitted_frames_keep_boxes_in_place(tmp_path: Path) -> None:
    item = {
        "image": str(picture(tmp_path / "a.jpg")),
        "label": {"boxes": [[20, 10, 60, 90]], "labels": [0]},
        "case": "a",
    }
    (fitted,) = fitted_frames([item], tmp_path / "small", size=(100, 64))
    assert Image.open(fitted["image"]).size == (100, 50)
    assert fitted["label"]["boxes"] == [[10, 5, 30, 45]]
    assert item["label"]["boxes"] == [[20, 10, 60, 90]]


def test_shared_frames(shared_data: Callable[[str], Path]) -> None:
    items = endoscopy_datalist(shared_data("endoscopy"), classes=["polyp"])
    assert len(items) == 1462
    assert sum(len(item["label"]["boxes"]) for item in items) == 1544
    assert sum(not item["label"]["boxes"] for item in items) == 119
    assert len(endoscopy_datalist(shared_data("endoscopy"), classes=["polyp"], split="test")) == 75


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.jpg,,polyp,10,20,230,40", r"row 1 of labels.csv leaves the picture a.jpg of 200 x 100"),
        ("a.jpg,,polyp,-9,20,30,40", "leaves the picture"),
        ("a.jpg,,polyp,10,20,10,40", "has no area"),
        ("a.jpg,,polyp,30,20,10,40", "has no area"),
        ("a.jpg,,polyp,10,nan,20,40", "is not finite"),
        ("a.jpg,,polyp,10,,20,40", "must hold four numbers"),
        ("a.jpg,,ulcer,10,20,20,40", "the class 'ulcer'; classes known: polyp, bubbles"),
    ],
)
def test_bad_boxes(tmp_path: Path, row: str, message: str) -> None:
    picture(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=message):
        endoscopy_datalist(table(tmp_path, row), classes=CLASSES)


def test_a_missing_label_file_is_not_a_frame_without_objects(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"a.jpg has no label file a.txt; a frame without objects needs an empty"
    ):
        endoscopy_datalist(ead(tmp_path / "missing", None), classes=CLASSES)
    (item,) = endoscopy_datalist(ead(tmp_path / "empty", ""), classes=CLASSES)
    assert item["label"]["boxes"] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 80 30 120 70", 'Set text_format="voc"'),
        ("5 0.5 0.5 0.2 0.4", "class 5; the class list has 2"),
        ("1 0.5 0.5 0.2", "line 1 of a.txt must hold four numbers"),
        ("1 0.5 0.5 0.2 nan", "is not finite"),
        ("1 0.5 0.5 0 0.2", "has no area"),
        ("smoke 0.5 0.5 0.2 0.2", "the class 'smoke'"),
    ],
)
def test_bad_text_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        endoscopy_datalist(ead(tmp_path, text), classes=CLASSES)


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        endoscopy_datalist(tmp_path / "nowhere", classes=CLASSES)
    with pytest.raises(ValueError, match=r"has no known layout: it holds nothing"):
        endoscopy_datalist(tmp_path, classes=CLASSES)
    table(tmp_path, "gone.jpg,,polyp,1,1,2,2")
    with pytest.raises(FileNotFoundError, match=r"gone.jpg does not exist"):
        endoscopy_datalist(tmp_path, classes=CLASSES)
    picture(tmp_path / "gone.jpg")
    with pytest.raises(ValueError, match="it names no splits"):
        endoscopy_datalist(tmp_path, classes=CLASSES, split="test")
    with pytest.raises(ValueError, match="text_format must be one of"):
        endoscopy_datalist(tmp_path, classes=CLASSES, text_format="xml")
    with pytest.raises(ValueError, match="classes must be different names"):
        endoscopy_datalist(tmp_path, classes=["a", "a"])
    with pytest.raises(ValueError, match="category that the file does not list"):
        endoscopy_datalist(coco(tmp_path / "coco", categories=[]), classes=CLASSES)
