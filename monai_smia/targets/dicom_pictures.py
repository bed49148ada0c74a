"""Pictures of a folder for the fundus and endoscopy bundles: files, and the frames of DICOM."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from monai_smia.dicom.files import looks_like_dicom
from monai_smia.dicom.picture_loading import FRAME
from monai_smia.dicom.pictures import frames_in, picture_files, picture_header, picture_name

LOGGER = logging.getLogger(__name__)
ENDINGS = (".dcm", ".dicom", ".ima")


class ListedPicture(NamedTuple):
    """One frame of a DICOM file.

    Args:
        image: the file.
        frame: its number in the file, from 1 on; None where it is the only one.
        case: what it is called.
        patient: whose it is, as a name that tells nothing.
        size: width and height.
    """

    image: Path
    frame: int | None
    case: str
    patient: str
    size: tuple[int, int]

    @property
    def carried(self) -> dict[str, Any]:
        """The patient."""
        return {"patient": self.patient}

    @property
    def item(self) -> dict[str, Any]:
        """As MONAI's datasets take it, without a label."""
        frame = {} if self.frame is None else {FRAME: self.frame}
        return {"image": os.path.abspath(self.image), **frame, "case": self.case, **self.carried}


def holds_pictures(path: Path) -> bool:
    """Whether a file, or one of the first files of a folder, or of a folder in it, is DICOM.

    Example:
        >>> holds_pictures(Path("."))
        False
    """
    if path.is_file():
        return looks_like_dicom(path)
    for place, folders, names in islice(os.walk(path), 64):
        folders.sort()
        if any(looks_like_dicom(Path(place, name)) for name in sorted(names)[:3]):
            return True
    return False


def listed_pictures(path: Path) -> list[ListedPicture]:
    """Every frame of the color pictures of DICOM in a folder and all below it, or of one file, in the order of files.

    Other images of the folder, such as greyscale ones, are left out, which is said.

    Raises:
        ValueError: if there is no color picture; what is wrong with the first file is said.
    """
    refused: list[str] = []
    if path.is_file():
        found = [(path, picture_header(path))]
    else:
        found, refused = picture_files(path)
    if not found:
        why = f": {refused[0]}" if refused else "."
        raise ValueError(f"dataset_dir {path.name} holds no color picture of DICOM{why}")
    if refused:
        total = len(refused) + len(found)
        LOGGER.warning("%d of %d images are left out; the first: %s", len(refused), total, refused[0])
    patients: dict[str, str] = {}
    listed = []
    for file, header in found:
        count = frames_in(header)
        for frame in range(1, count + 1):
            number = None if count == 1 else frame
            name = picture_name(header, number)
            size = (int(header.Columns), int(header.Rows))
            listed.append(ListedPicture(file, number, name, _patient(header, patients), size))
    return listed


def named_picture(path: Path, frame: str, where: str, patients: dict[str, str]) -> ListedPicture | None:
    """The picture that a row of a table names; None where its file is no DICOM.

    Args:
        path: the file.
        frame: its column ``frame``, empty where the file has one alone.
        where: the row, for messages.
        patients: names of patients by what headers call them, which is added to.

    Raises:
        ValueError: if the file is no color picture, the frame is none of its own, or a picture has a frame.
    """
    if not path.is_file() or not looks_like_dicom(path):
        if frame:
            raise ValueError(f"{where} names frame {frame} of {path.name}, which is no DICOM.")
        return None
    header = picture_header(path)
    count = frames_in(header)
    if frame and not (frame.isdecimal() and 1 <= int(frame) <= count):
        raise ValueError(f"{where}: frame must be a number from 1 to {count}, of {path.name}, got {frame!r}.")
    if not frame and count > 1:
        raise ValueError(f"{where}: {path.name} has {count} frames; name one in a column frame, from 1 on.")
    number = int(frame) if count > 1 else None
    size = (int(header.Columns), int(header.Rows))
    return ListedPicture(path, number, picture_name(header, number), _patient(header, patients), size)


def _patient(header: Any, patients: dict[str, str]) -> str:
    whose = str(header.get("PatientID") or header.SOPInstanceUID)
    return patients.setdefault(whose, f"patient_{hashlib.sha256(str(header.SOPInstanceUID).encode()).hexdigest()[:12]}")


def picture_items(folder: str | os.PathLike[str], suffixes: Sequence[str]) -> list[dict[str, Any]]:
    """The pictures of a folder for inference: files of some suffixes in it, and every frame of DICOM in it and below.

    A case is called by its file, whose answer one looks for by that name: ``<name>``, ``<name>_frame0001``.

    Raises:
        ValueError: if two cases have the same name, of which one answer would replace the other.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "b.png").touch(), (folder / "a.jpg").touch()
        (None, None)
        >>> [item["case"] for item in picture_items(folder, [".png", ".jpg"])]
        ['a', 'b']
    """
    place = Path(str(folder))
    files = sorted(file for file in place.iterdir() if file.suffix.lower() in suffixes) if place.is_dir() else []
    items: list[dict[str, Any]] = [{"image": str(file), "case": file.stem} for file in files]
    for picture in listed_pictures(place) if holds_pictures(place) else []:
        name = picture.image.name
        name = name[: -len(picture.image.suffix)] if picture.image.suffix.lower() in ENDINGS else name
        frame = "" if picture.frame is None else f"_frame{picture.frame:04d}"
        items.append({**picture.item, "case": f"{name}{frame}"})
        del items[-1]["patient"]
    check_unique(items)
    return items


def check_unique(items: Sequence[Mapping[str, Any]]) -> None:
    """Raise where two items are the same case."""
    seen: dict[str, str] = {}
    for item in items:
        name = Path(item["image"]).name
        if item["case"] in seen:
            raise ValueError(f"{seen[item['case']]} and {name} are both the case {item['case']!r}: rename one of them.")
        seen[item["case"]] = name
