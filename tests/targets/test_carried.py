"""Whose a case is, and what cases are compared by, arrives from every layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from monai_smia.targets.carried import carried
from monai_smia.targets.ct_lung import ct_datalist
from monai_smia.targets.endoscopy import endoscopy_datalist, fitted_frames
from monai_smia.targets.fundus import fundus_datalist

KNOWN = {"patient": "P1", "strata": {"scanner": "A"}}


def _picture(path: Path) -> None:
    Image.new("RGB", (64, 64), (120, 60, 40)).save(path)


def ct_json(folder: Path) -> list[dict[str, Any]]:
    for name in ("a", "b"):
        (folder / f"{name}.nii.gz").touch()
    items = [{"image": f"{name}.nii.gz", "label": f"{name}.nii.gz", **KNOWN} for name in ("a", "b")]
    (folder / "dataset.json").write_text(json.dumps({"training": items}))
    return ct_datalist(folder)


def ct_table(folder: Path) -> list[dict[str, Any]]:
    for name in ("a", "b"):
        (folder / f"{name}.nii.gz").touch()
    lines = ["file,lung_mask,patient,strata_scanner", *(f"{n}.nii.gz,{n}.nii.gz,P1,A" for n in ("a", "b"))]
    (folder / "labels.csv").write_text("\n".join(lines))
    return ct_datalist(folder)


def fundus_json(folder: Path) -> list[dict[str, Any]]:
    for name in ("a", "b"):
        _picture(folder / f"{name}.jpg")
    items = [{"image": f"{name}.jpg", "label": 1, **KNOWN} for name in ("a", "b")]
    (folder / "dataset.json").write_text(json.dumps({"training": items}))
    return fundus_datalist(folder)


def fundus_table(folder: Path) -> list[dict[str, Any]]:
    for name in ("a", "b"):
        _picture(folder / f"{name}.jpg")
    (folder / "labels.csv").write_text("file,dr_grade,patient,strata_scanner\na.jpg,1,P1,A\nb.jpg,2,P1,A\n")
    return fundus_datalist(folder)


def endoscopy_table(folder: Path) -> list[dict[str, Any]]:
    for name in ("a", "b"):
        _picture(folder / f"{name}.png")
    rows = ["a.png,polyp,1,2,30,40,P1,A", "b.png,,,,,,P1,A"]
    (folder / "labels.csv").write_text("\n".join(["file,class,x1,y1,x2,y2,patient,strata_scanner", *rows]))
    return fitted_frames(endoscopy_datalist(folder, classes=["polyp"]), folder / "fitted", size=(64, 64))


def endoscopy_coco(folder: Path) -> list[dict[str, Any]]:
    for name in ("a", "b"):
        _picture(folder / f"{name}.png")
    images = [{"id": i, "file_name": f"{name}.png", **KNOWN} for i, name in enumerate(("a", "b"))]
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "polyp"}]}
    (folder / "coco.json").write_text(json.dumps(content))
    return endoscopy_datalist(folder, classes=["polyp"])


@pytest.mark.parametrize(
    "layout", [ct_json, ct_table, fundus_json, fundus_table, endoscopy_table, endoscopy_coco], ids=lambda f: f.__name__
)
def test_patient_and_strata_arrive(layout: Callable[[Path], list[dict[str, Any]]], tmp_path: Path) -> None:
    items = layout(tmp_path)
    assert [{name: item[name] for name in KNOWN} for item in items] == [KNOWN, KNOWN]


def test_both_eyes_of_kaggles_photographs_are_one_persons(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    names = ["10_left", "10_right", "13_left"]
    for name in names:
        (tmp_path / "train" / f"{name}.jpeg").touch()
    (tmp_path / "trainLabels.csv").write_text("image,level\n" + "".join(f"{name},0\n" for name in names))
    assert [item["patient"] for item in fundus_datalist(tmp_path)] == ["10", "10", "13"]


def test_what_a_dataset_does_not_say_is_not_made_up(tmp_path: Path) -> None:
    assert carried({"file": "a", "patient": "", "strata_scanner": ""}, "row 1") == {}
    with pytest.raises(ValueError, match="row 1 must have strata as a dictionary"):
        carried({"strata": ["A"]}, "row 1")


def test_rows_of_one_frame_name_one_patient(tmp_path: Path) -> None:
    _picture(tmp_path / "a.png")
    rows = ["a.png,polyp,1,2,30,40,P1", "a.png,polyp,5,2,30,40,P2"]
    (tmp_path / "labels.csv").write_text("\n".join(["file,class,x1,y1,x2,y2,patient", *rows]))
    with pytest.raises(ValueError, match=r"row 2 of labels\.csv gives a\.png another patient"):
        endoscopy_datalist(tmp_path, classes=["polyp"])
