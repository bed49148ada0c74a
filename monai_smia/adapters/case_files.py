"""Cases of folders and files: NIfTI, DICOM series and pictures, with their labels, looked at before anything runs."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirst, LoadImage
from PIL import Image
from torch import Tensor

from monai_smia.dicom import DicomSeriesReader, find_dicom_series, looks_like_dicom, read_dicom_series, scanned_voxels
from monai_smia.storage.limits import NIFTI, PICTURES, file_range
from monai_smia.transforms.photographs import LoadPhotograph, check_picture

COLUMNS = ("image", "label")  # of a table of labels
CLASSES, NUMBERS = "classes", "numbers"  # that it may hold
NAMED = "NIfTI files or DICOM series"


def find_cases(
    images: str | Path | Sequence[str | Path],
    labels: str | Path | None = None,
    *,
    limit: int | None = None,
    pictures: bool = False,
    table: str | None = None,
) -> list[dict[str, Any]]:
    """The cases of folders and files.

    A NIfTI file, or a picture, is a case of its own name. A DICOM series is one, too; folders are named after patients,
    so that it is called by a hash of its SeriesInstanceUID.

    Args:
        images: files, and folders that hold files or DICOM series, one or several.
        labels: folder of ``CASE.nii.gz`` (of a series: the name of its folder; of a picture ``CASE.png``), or the file
            of a single case. With `table` a CSV file with the columns ``image`` (the file's name, or the case's) and
            ``label`` (its class, or its numbers with blanks between), and ``patient`` where it is known.
        limit: number of cases, the first ones.
        pictures: whether pictures are taken.
        table: what labels are, ``"classes"`` or ``"numbers"``; None for label maps.

    Raises:
        ValueError: if there are none, several kinds, or a label is missing.
    """
    kinds = f"{NAMED}, or pictures" if pictures else NAMED
    paths = [images] if isinstance(images, (str, Path)) else list(images)
    found = [case for each in paths for case in _of_path(Path(each), kinds, pictures)][:limit]
    if not found:
        raise ValueError(f"{', '.join(map(str, paths)) or 'images'} must hold {kinds}.")
    if len({_kind(case["image"]) for case in found}) > 1:
        several = "of one kind, and are of several" if pictures else f"{NAMED}, and are both"
        raise ValueError(f"images must be {several}: test them one after the other.")
    names = [case["case"] for case in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"images must have names of their own, and several are called {', '.join(twice)}.")
    rows = _of_table(Path(labels), found, table) if table and labels is not None else {}
    for case in found:
        name = case.pop("named")
        if table and labels is not None:
            case |= rows[case["case"]]
        elif labels is not None:
            case["label"] = str(_label(Path(labels), name, _endings(case["image"]), alone=len(found) == 1))
    return found


def _of_path(path: Path, kinds: str, pictures: bool) -> list[dict[str, Any]]:
    if not path.exists():
        raise ValueError(f"{path} does not exist: images are {kinds}, or folders of those.")
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    taken = [file for file in files if _is_nifti(file) or (pictures and _is_picture(file))]
    if taken:
        return [{"case": _stem(file), "named": _stem(file), "image": str(file)} for file in taken]
    cases = []
    folders = [path] if any(map(looks_like_dicom, files)) else sorted(path.iterdir()) if path.is_dir() else []
    for folder in folders:
        if folder.is_dir():
            for uid, series in sorted(find_dicom_series(folder).items()):
                name = f"series_{hashlib.sha256(uid.encode()).hexdigest()[:12]}"
                cases.append({"case": name, "named": folder.name, "image": [str(f) for f in series]})
    return cases


def _is_nifti(path: Path) -> bool:
    return path.name.endswith(NIFTI)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES


def _kind(image: Any) -> str:
    return "series" if isinstance(image, list) else "picture" if _is_picture(Path(image)) else "nifti"


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii") if _is_nifti(path) else path.stem


def _endings(image: Any) -> tuple[str, ...]:
    return (".png",) if _kind(image) == "picture" else NIFTI[::-1]


def _label(labels: Path, name: str, endings: Sequence[str], *, alone: bool) -> Path:
    named = f"CASE{endings[0]}"
    if not labels.exists():
        raise ValueError(f"{labels} does not exist: labels are a folder of files named {named}.")
    if labels.suffix == ".csv":
        raise ValueError(f"{labels.name} is a table of classes, and labels are a folder of files named {named}.")
    if labels.is_file():
        if not alone:
            raise ValueError(f"{labels.name} is one label, and there are several cases: give a folder of {named}.")
        return labels
    for ending in endings:
        if (labels / f"{name}{ending}").is_file():
            return labels / f"{name}{ending}"
    raise ValueError(f"a case has no label: {name}{endings[0]} is not in {labels.name}.")


def _of_table(labels: Path, cases: Sequence[Mapping[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """The class or the numbers of every case out of a table."""
    if not labels.is_file():
        raise ValueError(f"{labels} must be a CSV file with the columns image and label: the {kind} of every image.")
    with labels.open(newline="", encoding="utf-8-sig") as file:
        head = file.readline()
        file.seek(0)
        rows = list(csv.DictReader(file, delimiter=";" if ";" in head and "," not in head else ","))
    for column in COLUMNS:
        if not rows or rows[0].get(column) is None:
            raise ValueError(f"{labels.name} must have rows with the columns image and label, and {column} is missing.")
    known: dict[str, dict[Any, Any]] = {}
    for row in rows:
        name = _stem(Path(row["image"]))
        if any(row.get(None) or ()):  # fields without a column
            raise ValueError(f"{labels.name} has more fields than columns in the row of {name}: a comma in a number?")
        if name in known and known[name]["label"] != row["label"]:
            raise ValueError(f"{labels.name} has several rows of {name}, whose labels differ.")
        known[name] = row
    found = {}
    for case in cases:
        given = known.get(case["named"]) or known.get(case["case"])
        if given is None:
            raise ValueError(f"a case has no label: {labels.name} has no row with the image {case['named']}.")
        label = (_class if kind == CLASSES else _numbers)(given["label"] or "", labels.name)
        found[case["case"]] = {"label": label} | ({"patient": p} if (p := given.get("patient")) else {})
    return found


def _class(text: str, name: str) -> int:
    if not text.strip().isdigit():
        raise ValueError(f"{name} must hold classes, whole numbers from 0, got {text!r}.")
    return int(text)


def _numbers(text: str, name: str) -> list[float]:
    try:
        found = [float(word) for word in text.split()]
    except ValueError:
        found = []
    if not found:
        raise ValueError(f"{name} must hold numbers with blanks between, nan where one is not known, got {text!r}.")
    return found


class FileLoading:
    """From a case to its image as it is stored, its label, the mask of what was scanned, and the valid range.

    Args:
        clip: valid range of the images; None for that of every series, and of what a file's type can hold.
        several: whether an image may have several channels, as a color picture, or a NIfTI file's fourth axis.
        width_first: pictures have their width before their height, as MONAI's own loader gives them.

    Attributes:
        shape: of labels that are numbers; None while it is not known.
    """

    shape: tuple[int, ...] | None = None

    def __init__(
        self, clip: tuple[float, float] | None = None, *, several: bool = False, width_first: bool = False
    ) -> None:
        self.clip, self.several, self.width_first = clip, several, width_first
        self._read = Compose([LoadImage(image_only=True), EnsureChannelFirst()])
        series = LoadImage(reader=DicomSeriesReader(), image_only=True)
        self._series = Compose([series, EnsureChannelFirst()], map_items=False)  # a list of files is one series
        self._photograph = LoadPhotograph(min_size=1)

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        return {"clip": self.clip} | ({"width_first": self.width_first} if self.several else {})

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """``image``, ``label`` (None where there is none), ``clip``, and of a series ``mask``.

        Raises:
            ValueError: if the image has several channels where one is wanted, or a label map holds anything but whole
                numbers >= 0.
        """
        kind = _kind(item["image"])
        image = self.read(item["image"])
        if len(image) != 1 and not self.several:
            raise ValueError(f"the image must have one channel, got {len(image)}.")
        found: dict[str, Any] = {"image": image, "label": None, "clip": self.clip}
        if kind == "series":
            found["mask"] = scanned_voxels(image, item["image"])
            image.meta.pop("padding", None)
            found["clip"] = self.clip or read_dicom_series(item["image"]).range
        elif self.several:
            found["clip"] = self.clip or file_range(item["image"])
        label = item.get("label")
        if isinstance(label, int):
            found["label"] = torch.tensor(label)
        elif isinstance(label, list):
            found["label"] = self._shaped(label)
        elif label is not None:
            found["label"] = self._label_map(label)
        return found

    def _shaped(self, numbers: Sequence[float]) -> Tensor:
        if self.shape is not None and len(numbers) != math.prod(self.shape):
            wanted = math.prod(self.shape)
            raise ValueError(f"the label must hold the {wanted} numbers that the network predicts, got {len(numbers)}.")
        return torch.tensor(numbers).reshape((-1,) if self.shape is None else self.shape)

    def read(self, source: Any) -> MetaTensor:
        """An image ``(C, *spatial)``: a file's, or that of a list of files, which are a series."""
        if _kind(source) != "picture":
            image: MetaTensor = (self._series if isinstance(source, list) else self._read)(source)
            return image
        image = self._picture(Path(source))
        turned: Any = image.transpose(1, 2) if self.width_first else image
        return turned

    def _picture(self, path: Path) -> MetaTensor:
        """Rows first, in grey levels from 0 to 255: three channels, or one of a greyscale picture."""
        with Image.open(path) as picture:
            if picture.mode != "L":
                return self._photograph(path)
            check_picture(picture, path.name)
            pixels = np.array(picture)
        return MetaTensor(torch.from_numpy(pixels)[None].float(), meta={"filename_or_obj": str(path)})

    def _label_map(self, path: str) -> MetaTensor:
        if _is_picture(Path(path)):
            with Image.open(path) as picture:
                if picture.mode not in ("L", "P", "1"):
                    raise ValueError(f"label {Path(path).name} must hold classes in one channel, got {picture.mode}.")
                values = torch.from_numpy(np.array(picture))[None].long()
            return MetaTensor(values.transpose(1, 2) if self.width_first else values)
        label = self._read(path)
        if bool((label < 0).any()) or bool((label != label.round()).any()):
            raise ValueError("the label must hold whole numbers >= 0, one for each class.")
        return MetaTensor(label.as_tensor().long(), affine=label.affine)


def width_of(loading: FileLoading, cases: Sequence[Mapping[str, Any]]) -> float:
    """Width of the range of the first image that can be loaded, which PSNR and SSIM relate to."""
    for item in cases:
        try:
            values: Tensor = torch.as_tensor(loading(item)["image"])
        except Exception:  # a broken file is for the evaluation to name
            continue
        return float(values.max() - values.min()) or 1.0
    return 1.0
