"""Layouts of fundus photograph datasets: from a folder to the items that MONAI's datasets and transforms take."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monai.data.decathlon_datalist import load_decathlon_datalist

from monai_smia.checks import check_number
from monai_smia.targets.carried import carried
from monai_smia.targets.dicom_pictures import ListedPicture, holds_pictures, listed_pictures, named_picture
from monai_smia.targets.splits import of_split

__all__ = ["fundus_datalist"]

GRADES = range(5)


class _Layout(NamedTuple):
    table: str
    image: str
    grade: str
    folder: str
    suffix: str


_KAGGLE = _Layout("trainLabels.csv", "image", "level", "train", ".jpeg")  # of 2015
_LAYOUTS = (
    _Layout("train.csv", "id_code", "diagnosis", "train_images", ".png"),  # APTOS 2019
    _KAGGLE,
    _Layout("labels.csv", "file", "dr_grade", "", ""),  # ours; IDRiD as it is prepared for this project
)
_LISTS = {"training": "train", "validation": "validation", "test": "test"}  # of a MONAI datalist, and its split here
_EXPECTED = "; ".join(
    [
        f"{layout.table} ({layout.image}, {layout.grade}) with {layout.folder or 'the images'}/*{layout.suffix}"
        for layout in _LAYOUTS
    ]
    + [f"dataset.json with lists {', '.join(_LISTS)} of image and label", "DICOM files, at any depth"]
)


def fundus_datalist(
    dataset_dir: str | os.PathLike[str],
    *,
    split: str | None = None,
    held_out: float | None = None,
    split_seed: int = 0,
    max_cases: int | None = None,
    seed: int = 0,
    need_all_grades: bool = False,
    need_labels: bool = False,
) -> list[dict[str, Any]]:
    """List the photographs of a diabetic retinopathy dataset. Nothing is written, and no image is opened.

    The first layout that fits is taken: APTOS-2019 (``train.csv`` with ``id_code, diagnosis`` and
    ``train_images/*.png``), Kaggle's of 2015 (``trainLabels.csv`` with ``image, level`` and ``train/*.jpeg``), a
    ``labels.csv`` with ``file, dr_grade`` and optionally ``split`` and ``dme_risk``, or a MONAI datalist
    ``dataset.json`` with lists ``training`` (its split is ``train``), ``validation``, ``test`` of ``image, label``.
    A file that a table names may be a color picture of DICOM, with its frame in a column ``frame`` (from 1 on) where it
    has several. Without any table, every frame of the color pictures of DICOM in the folder and below is listed: all of
    the split "test", without a label. Pictures of DICOM are called by a hash of their SOPInstanceUID.

    Args:
        dataset_dir: the folder; or one file of DICOM.
        split: only rows with this value in the column ``split``, or of this list; ``"all"`` or None for all.
        held_out: share of the patients in ``"test"``, drawn by `split_seed`, where the dataset names no splits (APTOS
            and Kaggle do not); the others are ``"train"``.
        split_seed: of the draw.
        max_cases: a random subset of this many (the SMIA paper takes 11,000 of Kaggle's), or all if there are fewer.
        seed: of the subset.
        need_labels: whether it is an error that photographs have no grade, as DICOM without a table has none.
        need_all_grades: whether it is an error that a grade does not occur, as it is for training.

    Returns:
        One ``{"image": path, "label": grade, "case": name}`` a photograph, in the table's order; with ``"dme"``, the
        risk of macular edema, ``patient`` and ``strata`` where the dataset says them (of Kaggle's both eyes are one
        person's), ``frame`` of a file of several, and without ``label`` for DICOM without a table. Paths are absolute,
        the name is the file's without its ending.

    Raises:
        FileNotFoundError: if the folder or an image that the table names does not exist.
        ValueError: if no layout fits, a grade is not 0-4, the split is empty, `held_out` is no share or the dataset
            names splits, `max_cases` is no whole number >= 1, a name occurs twice, or a needed grade is absent.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from monai_smia.targets.fundus import write_fundus_phantoms
        >>> with TemporaryDirectory() as tmp:
        ...     folder = write_fundus_phantoms(tmp, 1, size=64)
        ...     [(item["case"], item["label"]) for item in fundus_datalist(folder)][:2]
        [('grade0_eye0', 0), ('grade1_eye1', 1)]
    """
    check_number("max_cases", max_cases, whole=True, least=1, optional=True)
    folder = Path(os.path.abspath(str(dataset_dir)))  # `--dataset_dir 2024` arrives as a number
    if not folder.is_dir() and not holds_pictures(folder):
        what = "is a file, and must be a folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"dataset_dir {folder} {what}.")
    table, rows = _rows(folder, alone=held_out is not None)
    rows = of_split(rows, split, where=table, held_out=held_out, seed=split_seed)
    if max_cases is not None and max_cases < len(rows):
        chosen = np.random.default_rng(seed).choice(len(rows), int(max_cases), replace=False)
        rows = [rows[i] for i in sorted(chosen)]
    missing = [str(row.image) for row in rows if not row.image.is_file()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise FileNotFoundError(f"{table} names images that do not exist: {missing[:3]}{more}.")
    items = _items(rows)
    double = [name for name, count in Counter(item["case"] for item in items).items() if count > 1]
    if double:
        raise ValueError(f"{table} names images more than once: {double[:3]}.")
    if (need_all_grades or need_labels) and not all("label" in item for item in items):
        raise ValueError(
            f"dataset_dir {folder.name} has no grades, which are needed here: list its files in labels.csv."
        )
    if need_all_grades:
        _check_all_grades([item["label"] for item in items], str(table))
    return items


class _Row(NamedTuple):
    image: Path
    grade: str
    split: str
    edema: str
    carried: dict[str, Any]
    where: str = ""
    frame: str = ""
    picture: ListedPicture | None = None  # without a table


def _rows(folder: Path, *, alone: bool = False) -> tuple[Path, list[_Row]]:
    """The table of the first layout that fits, and what it says; of DICOM without one, every frame."""
    for layout in _LAYOUTS:
        if (table := folder / layout.table).is_file():
            rows, column = _csv_rows(table, layout), layout.grade
            break
    else:
        if not (table := folder / "dataset.json").is_file():
            if holds_pictures(folder):
                named = "" if alone else "test"  # what is given is there to be attacked
                frames = [_Row(p.image, "", named, "", p.carried, picture=p) for p in listed_pictures(folder)]
                return folder, frames
            raise ValueError(f"dataset_dir {folder} has no known layout, expected one of: {_EXPECTED}.")
        rows, column = _json_rows(table), "label"
    if not rows:
        raise ValueError(f"{table} has no rows.")
    for number, row in enumerate(rows, start=1):
        if row.grade not in map(str, GRADES):
            raise ValueError(f"{table}, row {number}: {column} must be 0, 1, 2, 3 or 4, got {row.grade!r}.")
    return table, rows


def _csv_rows(table: Path, layout: _Layout) -> list[_Row]:
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = list(reader.fieldnames or ())
        absent = [column for column in (layout.image, layout.grade) if column not in columns]
        if absent:
            raise ValueError(f"{table} needs the columns {absent}, it has: {', '.join(columns) or 'none'}.")
        rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
    folder = table.parent / layout.folder
    return [
        _Row(
            folder / f"{row[layout.image]}{layout.suffix}",
            row[layout.grade],
            row.get("split", ""),
            row.get("dme_risk", ""),
            _person(row, layout) | carried(row, f"row {number} of {table.name}"),
            f"row {number} of {table.name}",
            row.get("frame", ""),
        )
        for number, row in enumerate(rows, start=1)
    ]


def _json_rows(table: Path) -> list[_Row]:
    content = json.loads(table.read_text(encoding="utf-8"))
    rows = []
    for name in (name for name in _LISTS if content.get(name)):
        for number, item in enumerate(load_decathlon_datalist(table, is_segmentation=False, data_list_key=name)):
            if not isinstance(item, dict) or not {"image", "label"} <= item.keys():
                raise ValueError(f'{table}, item {number} of "{name}" needs an image and a label, got {item}.')
            where = f'item {number} of "{name}" in {table.name}'
            known, frame = carried(item, where), str(item.get("frame", ""))
            rows.append(_Row(Path(item["image"]), str(item["label"]), _LISTS[name], "", known, where, frame))
    return rows


def _items(rows: Sequence[_Row]) -> list[dict[str, Any]]:
    patients: dict[str, str] = {}
    items = []
    for row in rows:
        picture = row.picture or named_picture(row.image, row.frame, row.where, patients)
        item: dict[str, Any] = {"image": str(row.image), "case": row.image.stem}
        if picture is not None:
            item = picture.item
        if row.grade:
            item["label"] = int(row.grade)
        if row.edema:
            item["dme"] = int(row.edema)
        items.append(item | row.carried)
    return items


def _person(row: dict[str, str], layout: _Layout) -> dict[str, str]:
    """Kaggle's two photographs of a person are called by a number and the side."""
    name, _, side = row[layout.image].rpartition("_")
    return {"patient": name} if layout is _KAGGLE and side in ("left", "right") else {}


def _check_all_grades(labels: Sequence[int], where: str) -> None:
    absent = sorted(set(GRADES) - set(labels))
    if absent:
        raise ValueError(f"{where} must hold every grade for training, grades {absent} are absent.")
