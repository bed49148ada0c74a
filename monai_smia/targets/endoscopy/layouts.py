"""Layouts of endoscopy detection datasets: from a folder to the list of frames with their boxes."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from monai_smia.dicom.files import looks_like_dicom
from monai_smia.dicom.pictures import picture_header
from monai_smia.targets.carried import carried
from monai_smia.targets.dicom_pictures import ListedPicture, holds_pictures, listed_pictures, named_picture
from monai_smia.targets.endoscopy.artefacts import DETECTED_BY
from monai_smia.targets.splits import ALL, of_split
from monai_smia.transforms.photographs import check_picture

__all__ = ["endoscopy_datalist"]

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".dcm")
_CLASS_LISTS = ("classes.txt", "class_list.txt", "obj.names")
_TEXT_FORMATS = ("yolo", "voc")
_SPLITS = ("train", "val", "test")  # as folders and datalists are called

_LAYOUTS = """one of
  - EAD-2019: pictures, each with a text file of its name, and a class list (classes.txt, class_list.txt or obj.names)
  - COCO: a *.json with "images", "annotations" and "categories", pictures beside it or in a folder next to it
  - labels.csv with the columns file, class, x1, y1, x2, y2 and optionally split
  - DICOM files, at any depth"""


class _Frame(NamedTuple):
    where: str
    image: Path
    split: str
    boxes: list[tuple[str, str, list[float]]]  # where it is listed, class name, x1 y1 x2 y2
    carried: dict[str, Any]
    frame: str = ""
    picture: ListedPicture | None = None  # without a table, and boxes that are known


def endoscopy_datalist(
    dataset_dir: str | os.PathLike[str],
    *,
    classes: Sequence[str],
    split: str | None = None,
    held_out: float | None = None,
    split_seed: int = 0,
    text_format: str = "yolo",
    need_labels: bool = False,
) -> list[dict[str, Any]]:
    """List the frames of a detection dataset with their boxes. Nothing is written; of pictures the header is read.

    The first layout that fits is taken:

    1. A folder with ``labels.csv``, one row a box: the columns ``file`` (a path relative to the folder), ``class``,
       ``x1, y1, x2, y2`` in pixels, and optionally ``split``, ``patient`` and ``strata_<name>``. A frame without object
       has one row with an empty class and no box.
    2. EAD-2019: pictures, each with a text file of the same name (beside it, or in a folder ``labels`` or
       ``annotations`` next to the pictures' folder), one line a box: ``class xc yc w h`` relative to the picture
       (``text_format="yolo"``), or ``class x1 y1 x2 y2`` in pixels (``"voc"``). The class is a name or the number of
       its line in the class list, counted from 0. An empty file says that a frame has no object; a missing one is an
       error. Folders ``train``, ``val``, ``test`` are its splits.
    3. COCO: the only ``*.json`` with ``images``, ``annotations`` (``bbox`` as x, y, width, height) and ``categories``;
       a name that holds ``train``, ``val`` or ``test`` says its split, by which one of several is chosen.
    4. DICOM without a table: every frame of the color pictures in the folder and below, or of one file, all of the
       split "test" and without a label.

    A file that a table names may be a color picture of DICOM, with its frame (from 1 on) in a column ``frame``, or
    ``"frame"`` of an image in COCO, where it has several. Such cases are called by a hash of their SOPInstanceUID.

    Args:
        dataset_dir: the folder, or its CSV or JSON file, or a file of DICOM.
        classes: the class names that a detector knows, in its order.
        split: the split to list; ``"all"`` or None lists all frames.
        held_out: share of the patients in ``"test"``, drawn by `split_seed`, where the dataset names no splits; the
            others are ``"train"``. A frame of a patient who is not named is a patient of its own.
        split_seed: of the draw.
        text_format: what the lines of text files hold, ``"yolo"`` or ``"voc"``.
        need_labels: whether it is an error that frames have no boxes, as DICOM without a table has none.

    Returns:
        One ``{"image": path, "label": {"boxes": [[x1, y1, x2, y2], ...], "labels": [number, ...]}, "case": name}`` a
        frame, boxes in pixels with x along the width, with ``patient`` and ``strata`` where the dataset says them,
        ``frame`` of a file of several, and without ``label`` for DICOM without a table. Paths are absolute.

    Raises:
        FileNotFoundError: if the folder, a picture or a label file does not exist.
        ValueError: if no layout fits, the split is not there, `held_out` is no share or the dataset names splits, a
            class is unknown, or a box is not finite, has no area or leaves its picture; the message says where.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from monai_smia.targets.endoscopy import EAD_CLASSES, write_artefact_frames
        >>> with TemporaryDirectory() as tmp:
        ...     folder = write_artefact_frames(tmp, 2, size=(96, 80))
        ...     [item["case"] for item in endoscopy_datalist(folder, classes=EAD_CLASSES)]
        ['frame_00000', 'frame_00001']
    """
    if not classes or len(set(classes)) != len(classes):
        raise ValueError(f"classes must be different names, at least one, got {list(classes)}.")
    if text_format not in _TEXT_FORMATS:
        raise ValueError(f"text_format must be one of {_TEXT_FORMATS}, got {text_format!r}.")
    path = Path(os.path.abspath(str(dataset_dir)))  # `--dataset_dir 2024` arrives as a number
    if not path.exists():
        raise FileNotFoundError(f"dataset_dir {path} does not exist; expected a folder or file, {_LAYOUTS}")
    if path.suffix == ".csv" or (path / "labels.csv").is_file():
        frames = _csv_frames(path if path.suffix == ".csv" else path / "labels.csv")
    elif path.suffix == ".json" or (list(path.glob("*.json")) and not _class_list(path)):
        frames = _coco_frames(path if path.suffix == ".json" else _coco_file(path, split))
    elif _class_list(path):
        frames = _text_frames(path, text_format)
    elif holds_pictures(path):
        named = "test" if held_out is None else ""  # what is given is there to be attacked
        frames = [_Frame(p.case, p.image, named, [], p.carried, picture=p) for p in listed_pictures(path)]
    else:
        found = ", ".join(sorted(p.name for p in path.iterdir())[:10]) or "nothing"
        raise ValueError(f"dataset_dir {path} has no known layout: it holds {found}; expected {_LAYOUTS}")
    if need_labels and any(frame.picture for frame in frames):
        raise ValueError(f"dataset_dir {path.name} has no boxes, which are needed here: list its files in labels.csv.")
    if not frames:
        raise ValueError(f"dataset_dir {path} lists no frame.")
    return _items(of_split(frames, split, where=path, held_out=held_out, seed=split_seed), list(classes))


def _csv_frames(source: Path) -> list[_Frame]:
    with source.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = {"file", "class", "x1", "y1", "x2", "y2"} - set(reader.fieldnames or ())
        if missing:
            have = ", ".join(reader.fieldnames or ()) or "none"
            raise ValueError(f"dataset_dir: {source} needs the columns {', '.join(sorted(missing))}; it has: {have}")
        rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
    frames: dict[tuple[str, str], _Frame] = {}
    for line, row in enumerate(rows, start=1):
        where = f"row {line} of {source.name}"
        known, number = carried(row, where), row.get("frame", "")
        first = _Frame(where, source.parent / row["file"], row.get("split", ""), [], known, number)
        frame = frames.setdefault((row["file"], number), first)
        if frame.split != row.get("split", ""):
            raise ValueError(f"dataset_dir: {where} puts {row['file']} into a second split, after {frame.where}.")
        if known != frame.carried:
            raise ValueError(f"dataset_dir: {where} gives {row['file']} another patient or strata than {frame.where}.")
        corners = [row[k] for k in ("x1", "y1", "x2", "y2")]
        if not row["class"] and any(corners):
            raise ValueError(f"dataset_dir: {where} has a box and no class, {corners}; without object it has neither.")
        if row["class"]:
            frame.boxes.append((where, row["class"], _numbers(corners, where)))
    return list(frames.values())


def _class_list(folder: Path) -> list[str] | None:
    for name in _CLASS_LISTS if folder.is_dir() else ():
        if (folder / name).is_file():
            return [line.strip() for line in (folder / name).read_text(encoding="utf-8").splitlines() if line.strip()]
    return None


def _text_frames(folder: Path, text_format: str) -> list[_Frame]:
    names = _class_list(folder) or []
    frames = []
    for picture in sorted(p for p in folder.rglob("*") if p.suffix.lower() in _PICTURES):
        parts = picture.relative_to(folder).parts[:-1]
        text = _label_file(picture)
        split = next((part for part in parts if part in _SPLITS), "")
        width, height = _size_of(picture)
        boxes = []
        for number, line in enumerate(text.read_text(encoding="utf-8").splitlines(), start=1):
            where = f"line {number} of {text.name}"
            if not line.strip():
                continue
            name, *rest = line.split()
            values = _numbers(rest, where)
            if name.isdecimal():
                if int(name) >= len(names):
                    raise ValueError(f"dataset_dir: {where} has class {name}; the class list has {len(names)}.")
                name = names[int(name)]
            if text_format == "yolo":
                if not all(-1e-6 <= v <= 1 + 1e-6 for v in values if not math.isnan(v)):
                    raise ValueError(
                        f"dataset_dir: {where} must hold shares of the picture in [0, 1] (xc yc w h), got {values}; "
                        'are these pixels? Set text_format="voc".'
                    )
                x, y, w, h = values
                values = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
            boxes.append((where, name, values))
        frames.append(_Frame(str(picture.relative_to(folder)), picture, split, boxes, {}))
    return frames


def _label_file(picture: Path) -> Path:
    candidates = [picture.with_suffix(".txt")]
    for folder in ("labels", "annotations"):
        candidates.append(picture.parent.parent / folder / f"{picture.stem}.txt")
        candidates.append(picture.parent.parent.parent / folder / picture.parent.name / f"{picture.stem}.txt")
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"dataset_dir: {picture} has no label file {candidates[0].name}; a frame without objects needs an empty one."
    )


def _coco_file(folder: Path, split: str | None) -> Path:
    files = sorted(folder.glob("*.json"))
    files = [f for f in files if split in (None, ALL) or split in f.stem] or files
    if len(files) != 1:
        several = ", ".join(f.name for f in files)
        raise ValueError(f"dataset_dir {folder} holds several datalists ({several}); give the path of the one to use")
    return files[0]


def _coco_frames(source: Path) -> list[_Frame]:
    split = next((name for name in _SPLITS if name in source.stem), "")
    content = json.loads(source.read_text(encoding="utf-8"))
    missing = [key for key in ("images", "annotations", "categories") if key not in content]
    if missing:
        raise ValueError(f"dataset_dir: {source} is no COCO file: it has no {', '.join(missing)}.")
    names = {category["id"]: category["name"] for category in content["categories"]}
    frames = {}
    for image in content["images"]:
        picture = source.parent / image["file_name"]
        if not picture.is_file():  # pictures in a folder of their own, as COCO publishes them
            nested = sorted(source.parent.glob(f"*/{image['file_name']}"))
            picture = nested[0] if nested else picture
        where = f"image {image['id']} of {source.name}"
        frame = str(image.get("frame", ""))
        frames[image["id"]] = _Frame(where, picture, split, [], carried(image, where), frame)
    for number, annotation in enumerate(content["annotations"]):
        where = f"annotation {number} of {source.name}"
        if annotation["image_id"] not in frames or annotation["category_id"] not in names:
            raise ValueError(f"dataset_dir: {where} names an image or a category that the file does not list.")
        x, y, w, h = _numbers(annotation["bbox"], where)
        frames[annotation["image_id"]].boxes.append((where, names[annotation["category_id"]], [x, y, x + w, y + h]))
    return list(frames.values())


def _numbers(values: Iterable[Any], where: str) -> list[float]:
    values = list(values)
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 4:
        raise ValueError(f"dataset_dir: {where} must hold four numbers, got {values}.")
    return numbers


def _size_of(picture: Path) -> tuple[int, int]:
    if not picture.is_file():
        raise FileNotFoundError(f"dataset_dir: the picture {picture} does not exist.")
    if looks_like_dicom(picture):
        header = picture_header(picture)
        return int(header.Columns), int(header.Rows)
    with Image.open(picture) as image:
        check_picture(image, picture.name)
        return image.size


def _items(frames: Sequence[_Frame], classes: list[str]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    patients: dict[str, str] = {}
    for frame in frames:
        size = _size_of(frame.image)
        boxes, labels = [], []
        for where, name, box in frame.boxes:
            if name not in classes:
                known = ", ".join(classes) + DETECTED_BY.get(name, "")
                raise ValueError(f"dataset_dir: {where} has the class {name!r}; classes known: {known}.")
            boxes.append(_checked_box(box, size, where, frame.image.name))
            labels.append(classes.index(name))
        picture = frame.picture or named_picture(frame.image, frame.frame, f"dataset_dir: {frame.where}", patients)
        item = {"image": str(frame.image), "case": frame.image.stem} if picture is None else picture.item
        case = item["case"]
        if case in seen:
            raise ValueError(f"dataset_dir: {seen[case]} and {frame.where} are both the case {case!r}.")
        seen[case] = frame.where
        label = {} if frame.picture else {"label": {"boxes": boxes, "labels": labels}}
        items.append({**item, **label, **frame.carried})
    return items


def _checked_box(box: list[float], size: tuple[int, int], where: str, picture: str) -> list[float]:
    x1, y1, x2, y2 = box
    problem = ""
    if not all(math.isfinite(v) for v in box):
        problem = "is not finite"
    elif x1 >= x2 or y1 >= y2:
        problem = "has no area"
    elif min(x1, y1) < -0.5 or x2 > size[0] + 0.5 or y2 > size[1] + 0.5:  # half a pixel: rounding of relative boxes
        problem = f"leaves the picture {picture} of {size[0]} x {size[1]} pixels"
    if problem:
        raise ValueError(f"dataset_dir: the box {box} (x1 y1 x2 y2) in {where} {problem}.")
    return [max(x1, 0.0), max(y1, 0.0), min(x2, float(size[0])), min(y2, float(size[1]))]
