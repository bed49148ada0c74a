"""The cases of folders and files, or of a list of data as Auto3DSeg takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.auto3dseg.utils import datafold_read
from monai.bundle import ConfigParser

from monai_smia.adapters import case_files
from monai_smia.adapters.monai_bundle.parts import case_names

LABEL = "label"
LISTS = (".json", ".yaml", ".yml")
TESTING, TRAINING = "testing", "training"


def find_items(
    images: str | Path | Sequence[str | Path],
    labels: str | Path | None,
    keys: Sequence[Any],
    *,
    settings: Mapping[str, Any],
    list_key: str | None = None,
    dataroot: str | Path | None = None,
    limit: int | None = None,
) -> dict[str, dict[Any, Any]]:
    """The items that an algorithm takes, ``{"image": file, ..., "label": file}``, by the names of their cases.

    Args:
        images: files and folders as for `case_files.find_cases`, or a list of data (JSON) as Auto3DSeg takes it.
        labels: folder of ``CASE.nii.gz``, or the file of a single case; a list of data names its own.
        keys: of an item's images.
        settings: hyperparameters of the algorithm: which fold its training left out, and where the data lie.
        list_key: of a list of data; None for its cases for testing, or without such for the fold that was left out.
        dataroot: where its files lie; None for where the algorithm's training found them, or beside the list.
        limit: number of cases, the first ones.

    Raises:
        ValueError: if there are none, or a file is missing; it is named.
    """
    paths = [Path(path) for path in ([images] if isinstance(images, (str, Path)) else images)]
    if len(paths) == 1 and paths[0].suffix in LISTS:
        if labels is not None:
            raise ValueError(f"labels must be left out: {paths[0]} names those of its cases.")
        found = _of_list(paths[0], settings, list_key, dataroot)[:limit]
        return _checked(found, keys, paths[0])
    if list_key is not None or dataroot is not None:
        raise ValueError("list_key and dataroot are of a list of data (JSON), and images are none.")
    if len(keys) > 1:
        names = ", ".join(map(str, keys))
        raise ValueError(f"a case has several images ({names}): give a list of data (JSON) whose items name them.")
    cases = case_files.find_cases(list(paths), labels, limit=limit)
    return {case["case"]: {keys[0]: case["image"]} | ({LABEL: case[LABEL]} if LABEL in case else {}) for case in cases}


def _of_list(
    path: Path, settings: Mapping[str, Any], list_key: str | None, dataroot: str | Path | None
) -> list[dict[str, Any]]:
    """The items of a list of data, with the paths of their files."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist: images are files, folders, or a list of data (JSON).")
    data: Any = ConfigParser.load_config_file(str(path))
    known = [key for key, value in data.items() if isinstance(value, list)] if isinstance(data, Mapping) else []
    key = list_key or next((key for key in (TESTING, TRAINING) if key in known and data[key]), TESTING)
    if key not in known:
        raise ValueError(f"list_key must be one of {', '.join(known) or 'none'}, which {path} has, got {key!r}.")
    written = settings.get("data_file_base_dir")
    root = Path(dataroot) if dataroot is not None else Path(str(written)) if _is_folder(written) else path.parent
    rest, held_out = datafold_read(dict(data), str(root), fold=int(settings.get("fold") or 0), key=key)
    return list(rest) if key != TRAINING or not held_out else list(held_out)


def _is_folder(path: Any) -> bool:
    return isinstance(path, str) and Path(path).is_dir()


def _checked(items: Sequence[dict[str, Any]], keys: Sequence[Any], path: Path) -> dict[str, dict[Any, Any]]:
    if not items:
        raise ValueError(f"{path} has no cases.")
    labeled = any(LABEL in item for item in items)
    for item in items:
        for key in [*keys, *[LABEL] * labeled]:
            if key not in item:
                raise ValueError(f"{path}: the item of {item.get(keys[0])} has no {key!r}, and every one needs it.")
            for file in item[key] if isinstance(item[key], list) else [item[key]]:
                if not Path(file).exists():
                    raise ValueError(f"{path} names {file}, which does not exist.")
    names = case_names([item[keys[0]] for item in items])
    return dict(zip(names, items, strict=True))
