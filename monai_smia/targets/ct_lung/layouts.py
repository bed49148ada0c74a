"""Layouts of CT segmentation datasets: from a folder to the list of items that MONAI's datasets and transforms take."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from monai.data.decathlon_datalist import load_decathlon_datalist

from monai_smia.dicom import looks_like_dicom, read_dicom_series
from monai_smia.nearest import nearest
from monai_smia.targets.carried import carried
from monai_smia.targets.ct_lung.series import holds_series, series_of
from monai_smia.targets.splits import of_split

__all__ = ["ct_datalist"]

TARGETS = ("lung", "infection", "lung_and_infection")
_LISTS = ("training", "validation", "test")

_LAYOUTS = """one of
  - Kaggle "COVID-19 CT scans": metadata.csv (ct_scan, lung_mask, ...) beside the folders ct_scans/, lung_masks/, ...
  - a decathlon datalist: dataset.json, or a single other *.json, with "training", "validation" or "test" lists
  - labels.csv with the columns file, lung_mask and optionally infection_mask, split
  - DICOM: a series, or a folder of series, with or without segmentations of them"""


class _Row(NamedTuple):
    where: str
    image: Any  # a path; the files of a series that lie beside others
    label: Path | None
    split: str
    carried: dict[str, Any]


def ct_datalist(
    dataset_dir: str | os.PathLike[str],
    *,
    target: str = "lung",
    split: str | None = None,
    held_out: float | None = None,
    split_seed: int = 0,
) -> list[dict[str, Any]]:
    """List the cases of a CT segmentation dataset. Nothing is written, and no image is opened.

    The first layout that fits is taken:

    1. Kaggle's "COVID-19 CT scans", by its ``metadata.csv``. The folders may be named in the singular or the plural,
       and only the file names of the table's paths count. Left and right lung are labels 1 and 2 of its ``lung_mask``,
       the infection is 3 in ``lung_and_infection_mask``: labels are passed on as they are, transforms binarize them.
    2. A decathlon-style datalist, ``dataset.json`` or the only ``*.json`` that is one. Its items have a single label,
       taken for whatever ``target`` says. "train" is its "training" list; "test" is its "test" list or, as the
       decathlon leaves that without labels, its "validation" list. With both labeled, "validation" is a split too.
    3. A folder with ``labels.csv``: the columns ``file`` and ``<target>_mask`` hold paths relative to the folder.

    4. DICOM: the folder of a series, or one with series at any depth: all of the split "test". A mask is a DICOM
       segmentation that refers to its series, or a NIfTI file named after the series' folder, ``<folder>_lung.nii.gz``,
       in it or beside it. Without any mask items have no label. A case is called by a hash of its series' UID.

    Both tables may have a column ``split``, whose values then name the splits, a column ``patient`` and columns
    ``strata_<name>``; items of a datalist may have ``patient`` and a dictionary ``strata``.

    Args:
        dataset_dir: the folder, or its JSON or CSV file.
        target: what to segment: "lung", "infection" or "lung_and_infection".
        split: the split to list, usually "train" or "test"; "all" or ``None`` lists all cases that have labels.
        held_out: share of the patients in "test", drawn by ``split_seed``, where the dataset names no splits (Kaggle's
            does not); the others are "train".
        split_seed: of the draw.

    Returns:
        One ``{"image": path, "label": path, "case": name}`` a case, in the dataset's order, with ``patient`` and
        ``strata`` where the dataset says them; without ``label`` for DICOM without masks. Paths are absolute, the name
        is the image's file name without ``.nii`` or ``.nii.gz``.

    Raises:
        FileNotFoundError: if ``dataset_dir`` or a file that it lists does not exist.
        ValueError: if no layout fits, ``target`` or ``split`` is not in the dataset, ``held_out`` is no share or the
            dataset names splits, or two cases have the same name.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from monai_smia.targets.ct_lung import write_ct_phantoms
        >>> with TemporaryDirectory() as tmp:
        ...     folder = write_ct_phantoms(tmp, 2, size=(32, 32, 32), spacing=(10.0, 10.0, 9.0))
        ...     [item["case"] for item in ct_datalist(folder, target="infection", split="test")]
        ['phantom_001']
    """
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {target!r}{nearest(target, TARGETS)}")
    path = Path(os.path.abspath(str(dataset_dir)))  # `--dataset_dir 2024` arrives as a number
    if not path.exists():
        raise FileNotFoundError(f"dataset_dir {path} does not exist; expected a folder or file, {_LAYOUTS}")
    if path.is_file() and looks_like_dicom(path):
        raise ValueError(f"dataset_dir {path.name} is one file of DICOM: give the folder of its series.")
    source = path if path.is_file() else _index_file(path)
    if source is None:
        named = "test" if held_out is None else ""  # a series that is given is there to be attacked
        rows = [
            _Row(s.case, s.image, Path(s.label) if s.label else None, named, {"patient": s.patient})
            for s in series_of(path, target)
        ]
    else:
        rows = _json_rows(source) if source.suffix == ".json" else _csv_rows(source, target)
    if not rows:
        raise ValueError(f"dataset_dir: {source} lists no labeled case.")
    source = source or path
    return _items(of_split(rows, split, where=source, held_out=held_out, seed=split_seed), target)


def _index_file(folder: Path) -> Path | None:
    """The file that tells which layout ``folder`` has; None where it holds series of DICOM."""
    if (folder / "metadata.csv").is_file():
        return folder / "metadata.csv"
    lists = [path for path in sorted(folder.glob("*.json")) if _is_datalist(path)]
    if folder / "dataset.json" in lists:
        return folder / "dataset.json"
    if len(lists) > 1:
        several = ", ".join(path.name for path in lists)
        raise ValueError(f"dataset_dir {folder} holds several datalists ({several}); give the path of the one to use")
    if lists:
        return lists[0]
    if (folder / "labels.csv").is_file():
        return folder / "labels.csv"
    if holds_series(folder):
        return None
    names = sorted(path.name for path in folder.iterdir())
    found = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    raise ValueError(f"dataset_dir {folder} has no known layout: it holds {found or 'nothing'}; expected {_LAYOUTS}")


def _is_datalist(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and any(isinstance(content.get(key), list) for key in _LISTS)


def _json_rows(source: Path) -> list[_Row]:
    if not _is_datalist(source):
        raise ValueError(f'dataset_dir {source} is no datalist: expected a "training", "validation" or "test" list')
    content = json.loads(source.read_text(encoding="utf-8"))
    lists: dict[str, list[Any]] = {key: content.get(key) or [] for key in _LISTS}
    if not all(isinstance(item, dict) and "label" in item for item in lists["test"]):
        lists["test"] = []  # as the decathlon publishes it: images alone
    splits = {"training": "train", "validation": "validation" if lists["test"] else "test", "test": "test"}
    rows = []
    for key in (key for key, items in lists.items() if items):
        for i, item in enumerate(load_decathlon_datalist(source, is_segmentation=True, data_list_key=key)):
            where = f'item {i} of "{key}" in {source.name}'
            if not (isinstance(item.get("image"), str) and isinstance(item.get("label"), str)):
                raise ValueError(f'dataset_dir: {where} needs one path as "image" and one as "label", got {item}')
            files = Path(item["image"]), Path(item["label"])
            rows.append(_Row(where, *files, splits[key], carried(item, where)))
    return rows


def _csv_rows(source: Path, target: str) -> list[_Row]:
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"dataset_dir {source} is no table of cases: it holds no text; expected {_LAYOUTS}") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = list(reader.fieldnames or ())
    table = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
    kaggle = "ct_scan" in columns
    image_column, label_column = "ct_scan" if kaggle else "file", f"{target}_mask"
    for argument, column in (("dataset_dir", image_column), (f"target={target!r}", label_column)):
        if column not in columns:
            have = ", ".join(columns) or "none"
            raise ValueError(f"{argument} needs a column {column!r} in {source}, which has the columns: {have}")

    def locate(row: dict[str, str], column: str) -> Path | None:
        if not row[column]:
            return None
        if not kaggle:
            return source.parent / row[column]
        plural, singular = source.parent / f"{column}s", source.parent / column
        return (singular if singular.is_dir() else plural) / row[column].replace("\\", "/").rsplit("/", 1)[-1]

    rows = []
    for number, row in enumerate(table, start=1):
        where = f"row {number} of {source.name}"
        image = locate(row, image_column)
        if image is None:
            raise ValueError(f"dataset_dir: {where} has an empty {image_column!r}")
        rows.append(_Row(where, image, locate(row, label_column), row.get("split", ""), carried(row, where)))
    return rows


def _items(rows: list[_Row], target: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    unlabeled = [row for row in rows if row.label is None]
    if unlabeled and len(unlabeled) < len(rows) and _is_series(unlabeled[0].image):
        raise ValueError(f"target={target!r}: {unlabeled[0].where} has no mask of it, and others have")
    for row in unlabeled:
        if not _is_series(row.image):
            raise ValueError(f"target={target!r}: {row.where} ({row.image.name}) names no mask for it")
    for where, image, label, _, known in rows:
        for path in (image, label):
            if isinstance(path, Path) and not (path.is_file() or (path is image and holds_series(path))):
                raise FileNotFoundError(f"dataset_dir: {where} names {path}, which does not exist")
        case = _case_of(image)
        if case in seen:
            raise ValueError(
                f"dataset_dir: {seen[case]} and {where} are both the case {case!r}; image names must be unique"
            )
        seen[case] = where
        files = [os.path.abspath(file) for file in image] if isinstance(image, list) else os.path.abspath(image)
        labeled = {} if label is None else {"label": os.path.abspath(label)}
        items.append({"image": files, **labeled, "case": case, **known})
    return items


def _is_series(image: Any) -> bool:
    return isinstance(image, list) or Path(image).is_dir()


def _case_of(image: Any) -> str:
    """A case's name: its file's, of a series the hash of its UID."""
    if _is_series(image):
        return read_dicom_series(image).name
    return Path(image).name.removesuffix(".gz").removesuffix(".nii")
