"""The cases of a test of a product: NIfTI files or DICOM series, with their labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirst, LoadImage

from monai_smia.adapters.product.queries import NIFTI
from monai_smia.dicom import DicomSeriesReader, find_dicom_series, looks_like_dicom, read_dicom_series, scanned_voxels
from monai_smia.storage import DicomStorage, NiftiStorage


def find_cases(
    images: Sequence[str | Path], labels: str | Path | None = None, *, limit: int | None = None
) -> list[dict[str, Any]]:
    """The cases of folders and files.

    A NIfTI file is a case of its own name. A DICOM series is one, too; folders are named after patients, so that it is
    called by a hash of its SeriesInstanceUID.

    Args:
        images: NIfTI files, and folders that hold NIfTI files or DICOM series, one or several.
        labels: folder of ``CASE.nii.gz`` (of a series: the name of its folder), or the file of a single case.
        limit: number of cases, the first ones.

    Raises:
        ValueError: if there are none, both kinds, or a label is missing.
    """
    found = [case for each in images for case in _of_path(Path(each))][:limit]
    if not found:
        raise ValueError(f"{', '.join(map(str, images)) or 'images'} must hold NIfTI files or DICOM series.")
    kinds = {isinstance(case["image"], list) for case in found}
    if len(kinds) > 1:
        raise ValueError("images must be NIfTI files or DICOM series, and are both: test them one after the other.")
    for case in found:
        name = case.pop("named")
        if labels is not None:
            case["label"] = str(_label(Path(labels), name, alone=len(found) == 1))
    return found


def _of_path(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        raise ValueError(f"{path} does not exist: images are NIfTI files, or folders of those or of DICOM series.")
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    nifti = [file for file in files if file.name.endswith(NIFTI)]
    if nifti:
        return [{"case": _stem(file), "named": _stem(file), "image": str(file), "label": None} for file in nifti]
    cases = []
    folders = [path] if any(map(looks_like_dicom, files)) else sorted(path.iterdir()) if path.is_dir() else []
    for folder in folders:
        if folder.is_dir():
            for uid, series in sorted(find_dicom_series(folder).items()):
                name = f"series_{hashlib.sha256(uid.encode()).hexdigest()[:12]}"
                cases.append({"case": name, "named": folder.name, "image": [str(f) for f in series], "label": None})
    return cases


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _label(labels: Path, name: str, *, alone: bool) -> Path:
    if not labels.exists():
        raise ValueError(f"{labels} does not exist: labels are a folder of files named CASE.nii.gz.")
    if labels.is_file():
        if not alone:
            raise ValueError(f"{labels.name} is one label, and there are several cases: give a folder of CASE.nii.gz.")
        return labels
    for ending in NIFTI:
        if (labels / f"{name}{ending}").is_file():
            return labels / f"{name}{ending}"
    raise ValueError(f"a case has no label: {name}.nii.gz is not in {labels.name}.")


class ProductLoading:
    """From a case to its image as it is stored, its label map, and the mask of what was scanned.

    Args:
        clip: valid range of the images; None for that of every series, and of a NIfTI file's type.
    """

    def __init__(self, clip: tuple[float, float] | None = None) -> None:
        self.clip = clip
        self._read = Compose([LoadImage(image_only=True), EnsureChannelFirst()])
        series = LoadImage(reader=DicomSeriesReader(), image_only=True)
        self._series = Compose([series, EnsureChannelFirst()], map_items=False)  # a list of files is one series

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        return {"clip": self.clip}

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """``image``, ``label`` (None where there is none), ``clip``, and of a series ``mask``.

        Raises:
            ValueError: if the image has several channels, or the label holds anything but whole numbers >= 0.
        """
        dicom = isinstance(item["image"], list)
        image = (self._series if dicom else self._read)(item["image"])
        if len(image) != 1:
            raise ValueError(f"the image must have one channel, got {len(image)}.")
        found: dict[str, Any] = {"image": image, "label": None, "clip": self.clip}
        if dicom:
            found["mask"] = scanned_voxels(image, item["image"])
            image.meta.pop("padding", None)
            found["clip"] = self.clip or read_dicom_series(item["image"]).range
        if item["label"] is not None:
            label = self._read(item["label"])
            if bool((label < 0).any()) or bool((label != label.round()).any()):
                raise ValueError("the label must hold whole numbers >= 0, one for each class.")
            found["label"] = MetaTensor(label.as_tensor().long(), affine=label.affine)
        return found


def storage_of(cases: Sequence[Mapping[str, Any]], folder: Path, *, identified: bool) -> Any:
    """Writes adversarial images in the format of the cases."""
    if isinstance(cases[0]["image"], list):
        return DicomStorage(folder, note="Black-box test.", identified=identified)
    return NiftiStorage(folder)


def width_of(loading: ProductLoading, cases: Sequence[Mapping[str, Any]]) -> float:
    """Width of the range of the first image that can be loaded, which PSNR and SSIM relate to."""
    for item in cases:
        try:
            values = np.asarray(torch.as_tensor(loading(item)["image"]))
        except Exception:  # a broken file is for the evaluation to name
            continue
        return float(values.max() - values.min()) or 1.0
    return 1.0
