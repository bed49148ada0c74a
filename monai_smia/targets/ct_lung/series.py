"""CTs as DICOM: the series of a folder, each with the lungs that a segmentation or a NIfTI file has of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_smia.dicom import DicomSeriesError, looks_like_dicom
from monai_smia.dicom.segmentation import DicomSegmentation, is_segmentation, read_dicom_segmentation
from monai_smia.dicom.series import headers_of, series_name

NAMES = {  # of a target: labels of segments in small letters, and codes of SNOMED
    "lung": frozenset(
        ("lung", "lungs", "left lung", "right lung", "lung left", "lung right", "both lungs")
        + ("39607008", "44029006", "3341006", "t 28000", "t 28500", "t 28100")
    ),
    "infection": frozenset(("infection", "infections", "infected lung", "covid 19 infection")),
}
ENDINGS = (".nii.gz", ".nii")


class CTSeries(NamedTuple):
    """One series of a folder.

    Args:
        image: its folder, or its files where others lie there, too.
        label: file of its mask, if there is one.
        case: what it is called.
        patient: whose it is, as a name that tells nothing.
    """

    image: str | list[str]
    label: str | None
    case: str
    patient: str


def holds_series(path: Path) -> bool:
    """Whether one of the first files of a folder, or of a folder in it, is DICOM.

    Example:
        >>> holds_series(Path("."))
        False
    """
    if not path.is_dir():
        return False
    for place, folders, names in islice(os.walk(path), 64):
        folders.sort()
        if any(looks_like_dicom(Path(place, name)) for name in sorted(names)[:3]):
            return True
    return False


def series_of(folder: Path, target: str) -> list[CTSeries]:
    """The CT series in a folder and all below it, in the order of their files.

    A mask is a DICOM segmentation that refers to the series, wherever it lies below the folder, or a NIfTI file that
    is named after the series' folder or UID, such as ``<folder>_lung.nii.gz``, in it or beside it.

    Args:
        folder: of one series, or of several.
        target: what masks are of.

    Raises:
        ValueError: if there is no CT series, or several masks of one.
    """
    found = headers_of(folder)
    segmentations = [
        read_dicom_segmentation(path) for files in found.values() for path, h in files if is_segmentation(h)
    ]
    images = {uid: files for uid, files in found.items() if _is_ct(files[0][1])}
    if not images:
        raise ValueError(f"dataset_dir {folder.name} holds no CT series: its DICOM files are of other kinds.")
    patients: dict[str, str] = {}
    for uid, files in sorted(images.items()):
        whose = str(files[0][1].get("PatientID") or uid)
        patients.setdefault(whose, f"patient_{hashlib.sha256(uid.encode()).hexdigest()[:12]}")
    series = []
    for uid, files in images.items():
        paths = [path for path, _ in files]
        masks = [str(one.path) for one in segmentations if one.series_uid == uid and segments_of(one, target)]
        place = Path(os.path.commonpath([path.parent for path in paths]))
        masks += _named(place, folder, [place.name, uid, series_name(uid)], target)
        if len(masks) > 1:
            names = ", ".join(sorted(Path(mask).name for mask in masks))
            raise ValueError(f"the series in {place.name} must have one mask of its {target}, got {names}.")
        alone = not any(path.is_relative_to(place) for other, rest in found.items() if other != uid for path, _ in rest)
        image = str(place) if alone else [str(path) for path in paths]
        whose = patients[str(files[0][1].get("PatientID") or uid)]
        series.append(CTSeries(image, masks[0] if masks else None, series_name(uid), whose))
    return series


def ct_files(folder: str | os.PathLike[str]) -> list[Any]:
    """The CTs of a folder: its NIfTI files, and the DICOM series in it and below, each a folder or a list of files.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "b.nii.gz").touch(), (folder / "a.nii").touch()
        (None, None)
        >>> [Path(file).name for file in ct_files(folder)]
        ['a.nii', 'b.nii.gz']
    """
    place = Path(str(folder))
    files = [str(path) for path in sorted(place.glob("*")) if path.name.endswith(ENDINGS)] if place.is_dir() else []
    return files + ([series.image for series in series_of(place, "lung")] if holds_series(place) else [])


def segments_of(segmentation: DicomSegmentation, target: str) -> list[int]:
    """The numbers of the segments that are a target, by their labels or codes."""
    return [number for number, names in segmentation.segments.items() if names & NAMES.get(target, frozenset())]


def required_segments(segmentation: DicomSegmentation, target: str) -> list[int]:
    """The same.

    Raises:
        DicomSeriesError: if there is none; those that there are, are named.
    """
    numbers = segments_of(segmentation, target)
    if not numbers:
        there = ", ".join(" / ".join(sorted(names)) for names in segmentation.segments.values())
        raise DicomSeriesError(f"{segmentation.path.name} has no segment of the {target}, by label or code: {there}.")
    return numbers


class WithinSeriesd(MapTransform):
    """Keeps what is attacked within what its DICOM series can store: adds ``clip``, at most a CT's range.

    Args:
        keys: of the image, as `LoadHounsfieldd` has loaded it.
        clip: range of a CT.
        native: whether the image is attacked as it is loaded; else its padding is none of what the network sees.
    """

    def __init__(
        self, keys: KeysCollection = "image", clip: Sequence[float] = (-1024.0, 3071.0), native: bool = True
    ) -> None:
        super().__init__(keys)
        self.clip = (float(clip[0]), float(clip[1]))
        self.native = native

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item."""
        item = dict(data)
        for key in self.key_iterator(item):
            meta = item[key].meta if isinstance(item[key], MetaTensor) else {}
            if not self.native:
                meta.pop("padding", None)
            elif "range" in meta:
                low, high = meta["range"]
                item["clip"] = (max(low, self.clip[0]), min(high, self.clip[1]))
        return item


def _is_ct(header: Any) -> bool:
    kinds = [str(kind).upper() for kind in header.get("ImageType") or ()]
    return header.get("Modality") == "CT" and bool(header.get("Rows")) and "LOCALIZER" not in kinds


def _named(place: Path, folder: Path, names: Sequence[str], target: str) -> list[str]:
    """NIfTI files that are named after a series, in its folder, beside it or in the folder of all."""
    stems = [f"{name}_{ending}" for name in names for ending in (target, f"{target}_mask")]
    places = dict.fromkeys((place, place.parent, folder))
    found = [there / f"{stem}{ending}" for there in places for stem in stems for ending in ENDINGS]
    return [str(path) for path in found if path.is_file()]
