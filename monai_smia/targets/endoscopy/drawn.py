"""Datasets of endoscopy frames with drawn artefacts, or drawn polyps."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from monai_smia.checks import check_number
from monai_smia.dicom.files import looks_like_dicom
from monai_smia.targets.endoscopy.artefacts import EAD_CLASSES, add_artefacts
from monai_smia.targets.endoscopy.clean import suppress_highlights
from monai_smia.targets.endoscopy.frames import checked_size, fit_picture, mucosa
from monai_smia.targets.endoscopy.polyps import add_polyps
from monai_smia.targets.endoscopy.shapes import Map
from monai_smia.transforms.photographs import check_picture

__all__ = ["write_artefact_frames", "write_polyp_frames"]

_VERSION = 1  # raise it whenever the same seed draws something else
Boxed = tuple[Map, Sequence[Any], Sequence[int]]  # a frame, its boxes and their classes


def write_artefact_frames(
    folder: str | os.PathLike[str],
    count: int,
    *,
    frames: Sequence[str | os.PathLike[str]] | None = None,
    size: Sequence[int] = (256, 192),
    seed: int = 0,
) -> Path:
    """Write frames with drawn artefacts as a dataset in the EAD-2019 layout of :func:`endoscopy_datalist`.

    Frame i shows real frame ``i * len(frames) // count``, scaled to fit and freed from its own small highlights, or
    mucosa of seed ``seed + i``; its artefacts are those of seed ``seed + i``. A complete folder with the same
    parameters is left as it is.

    Args:
        folder: where to write ``frame_00000.png``, ``frame_00000.txt``, ..., ``classes.txt``; made if absent.
        count: number of frames, at least 1.
        frames: paths of real frames; None draws mucosa.
        size: width and height to fit a frame into, in pixels, each at least 64.
        seed: seed of the first frame.

    Returns:
        The absolute path of the folder.

    Raises:
        ValueError: if an argument is out of its range, or `frames` is empty.
        FileExistsError: if ``folder`` holds a class list that is not of this function's making.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as tmp:
        ...     sorted(path.name for path in write_artefact_frames(tmp, 1, size=(96, 80)).iterdir())
        ['artefacts.json', 'classes.txt', 'frame_00000.png', 'frame_00000.txt']
    """
    check_number("count", count, whole=True, least=1)
    if frames is not None and not frames:
        raise ValueError("frames must hold at least one path, or be None for mucosa, got none.")
    fit = checked_size(size)

    def drawn(i: int) -> Boxed:
        real = None if frames is None else Path(frames[i * len(frames) // int(count)])
        frame = add_artefacts(_real_frame(real, fit) if real else mucosa(fit, seed=seed + i), seed=seed + i)
        return frame.image, list(frame.boxes), list(frame.labels)

    files = None if frames is None else [_identified(Path(frame)) for frame in frames]
    receipt = {"version": _VERSION, "count": int(count), "size": fit, "seed": seed, "frames": files}
    return _write(Path(folder).resolve(), drawn, EAD_CLASSES, "artefacts.json", receipt)


def write_polyp_frames(
    folder: str | os.PathLike[str], count: int, *, size: Sequence[int] = (320, 256), seed: int = 0
) -> Path:
    """Write mucosa with drawn polyps as a dataset in the EAD-2019 layout of :func:`endoscopy_datalist`.

    Frame i is mucosa and polyps of seed ``seed + i``. A complete folder with the same parameters is left as it is.

    Args:
        folder: where to write ``frame_00000.png``, ``frame_00000.txt``, ..., ``classes.txt``; made if absent.
        count: number of frames, at least 1.
        size: width and height in pixels, each at least 64.
        seed: seed of the first frame.

    Returns:
        The absolute path of the folder.

    Raises:
        ValueError: if an argument is out of its range.
        FileExistsError: if ``folder`` holds a class list that is not of this function's making.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as tmp:
        ...     (write_polyp_frames(tmp, 1, size=(96, 80)) / "classes.txt").read_text()
        'polyp\\n'
    """
    check_number("count", count, whole=True, least=1)
    fit = checked_size(size)

    def drawn(i: int) -> Boxed:
        image, boxes = add_polyps(mucosa(fit, seed=seed + i), seed=seed + i)
        return image, list(boxes), [0] * len(boxes)

    receipt = {"version": _VERSION, "count": int(count), "size": fit, "seed": seed}
    return _write(Path(folder).resolve(), drawn, ["polyp"], "polyps.json", receipt)


def _write(
    folder: Path, drawn: Callable[[int], Boxed], classes: Sequence[str], name: str, receipt: dict[str, Any]
) -> Path:
    """The frames, a text file beside each, the list of classes, and a receipt by which they are known again."""
    listed, known = folder / "classes.txt", folder / name
    text = json.dumps(receipt) + "\n"
    if listed.exists():
        if not known.exists():
            raise FileExistsError(f"folder {folder} holds another dataset (no {name}): choose another.")
        if known.read_text() == text:
            return folder
        listed.unlink()  # first: a folder without its class list is never mistaken for a complete one
        for old in folder.glob("frame_*"):
            old.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(receipt["count"]):
        image, boxes, labels = drawn(i)
        Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(folder / f"frame_{i:05d}.png")
        lines = [_yolo_line(box, label, image.shape) for box, label in zip(boxes, labels, strict=True)]
        (folder / f"frame_{i:05d}.txt").write_text("".join(lines))
    known.write_text(text)
    listed.write_text("\n".join(classes) + "\n")
    return folder


@lru_cache(maxsize=1)  # a frame shown several times is shown in a row
def _real_frame(path: Path, fit: tuple[int, int]) -> Map:
    if looks_like_dicom(path):
        raise ValueError(f"frames must be picture files to draw on, got DICOM, {path.name}: it goes into dataset_dir.")
    with Image.open(path) as image:
        check_picture(image, path.name)
        pixels = np.asarray(fit_picture(image, fit))
    return suppress_highlights((pixels / 255).astype(np.float32))


def _identified(path: Path) -> list[Any]:
    """By which another file of the same name is known from this one."""
    about = path.stat()
    return [str(path.resolve()), about.st_size, about.st_mtime_ns]


def _yolo_line(box: Any, label: Any, shape: Sequence[int]) -> str:
    x1, y1, x2, y2 = (float(v) for v in box)
    values = ((x1 + x2) / 2 / shape[1], (y1 + y2) / 2 / shape[0], (x2 - x1) / shape[1], (y2 - y1) / shape[0])
    return f"{int(label)} " + " ".join(f"{value:.7f}" for value in values) + "\n"
