"""The cases of folders of nnU-Net's layout, each looked at before anything is computed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK

from monai_smia.adapters.nnunet.deployed import Deployed
from monai_smia.storage.whole import DamagedFileError, check_whole

NEAR = 1e-3  # between affines, in mm
PICTURES = (".png", ".bmp", ".tif", ".tiff")  # whose headers say nothing of a voxel's size that anyone goes by


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a file lie, by its header.

    Args:
        size: of its spatial axes, in the file's order.
        affine: from voxels to millimeters, flat; empty where the format does not say.
        channels: that the file holds by itself, such as those of a color picture.
    """

    size: tuple[int, ...]
    affine: tuple[float, ...] = ()
    channels: int = 1

    @classmethod
    def of_file(cls, path: Path) -> Grid:
        """Of a NIfTI file, a picture, or what else SimpleITK reads.

        Raises:
            ValueError: if its header cannot be read.
        """
        try:
            if path.name.endswith((".nii", ".nii.gz")):
                image: Any = nib.load(path)
                several = int(np.prod(image.shape[3:]))
                return cls(tuple(image.shape[:3]), tuple(np.asarray(image.affine).ravel().tolist()), several)
            header = SimpleITK.ImageFileReader()
            header.SetFileName(str(path))
            header.ReadImageInformation()
        except Exception as error:  # of either library
            raise ValueError(f"{path} cannot be read: {_reason(path, error)}") from error
        placed = (*header.GetSpacing(), *header.GetOrigin(), *header.GetDirection())
        known = () if path.suffix in PICTURES else placed
        return cls(tuple(header.GetSize()), known, header.GetNumberOfComponents())

    def differs(self, other: Grid) -> str:
        """What is different, in words; empty where nothing is."""
        if self.size != other.size:
            return f"{' x '.join(map(str, self.size))} voxels, and not {' x '.join(map(str, other.size))}"
        known = len(self.affine) == len(other.affine) and self.affine
        if known and not np.allclose(self.affine, other.affine, atol=NEAR):
            return "voxels of another size, place or direction"
        return ""


def _reason(path: Path, error: Exception) -> str:
    """Why a file cannot be read: that it is damaged, by its own account, or what its reader says."""
    try:
        check_whole(path)
    except DamagedFileError as damage:
        return str(damage)
    return f"{type(error).__name__}: {str(error).strip()}"


def find_cases(
    deployed: Deployed,
    images: Sequence[str | Path],
    labels: str | Path | None = None,
    *,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """The cases, as an evaluation takes them: ``case``, ``image`` (a list of files) and ``label``.

    Args:
        deployed: the model, which says how many channels there are and how files end.
        images: folders, or files, named as nnU-Net wants them: ``CASE_0000.nii.gz`` for the first channel.
        labels: folder of label maps named ``CASE.nii.gz``, or the file of a single case; None where there are none.
        limit: number of cases, the first ones.

    Raises:
        ValueError: if there is no case, a channel or a label is missing, or files of a case lie on different grids; the
            file is named.
    """
    names, ending = deployed.channel_names, deployed.file_ending
    found = _by_case([Path(path) for path in images], ending)
    cases = sorted(found)[:limit]
    items = [{"case": case, "image": _channels(case, found[case], names, ending), "label": None} for case in cases]
    if labels is not None:
        _add_labels(items, Path(labels), ending)
    for item in items:
        _check_grids(item)
    return items


def _by_case(paths: Sequence[Path], ending: str) -> dict[str, dict[int, Path]]:
    """The files of every case, by channel."""
    pattern = re.compile(rf"(.+)_(\d{{4}}){re.escape(ending)}")
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path} does not exist: images are folders or files named CASE_0000{ending}.")
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            match = pattern.fullmatch(file.name)
            if match is None:
                if not path.is_dir():
                    raise ValueError(f"{file} must be named as nnU-Net wants it, CASE_0000{ending}.")
                continue
            case, channel = match[1], int(match[2])
            if channel in found[case]:
                raise ValueError(f"{found[case][channel]} and {file} are both channel {channel:04d} of case {case}.")
            found[case][channel] = file
    if not found:
        raise ValueError(f"{', '.join(map(str, paths)) or 'images'} holds no file named CASE_0000{ending}.")
    return found


def _channels(case: str, files: dict[int, Path], names: Sequence[str], ending: str) -> list[str]:
    """The files of a case, in the order of their channels; that of a color picture has several by itself."""
    ordered = [files[number] for number in sorted(files)]
    held = sum(Grid.of_file(file).channels for file in ordered)
    missing = [number for number in range(len(names)) if number not in files]
    if held == len(names) and sorted(files) == list(range(len(files))):
        return [str(file) for file in ordered]
    takes = f"the model takes {len(names)}: {', '.join(names)}."
    if missing and held < len(names):
        first = missing[0]
        file = ordered[0].parent / f"{case}_{first:04d}{ending}"
        raise ValueError(f"case {case} has no channel {first:04d} ({names[first]}): {file} is not there; {takes}")
    raise ValueError(f"case {case} has {held} channels, the last one of {ordered[-1]}; {takes}")


def _add_labels(items: Sequence[dict[str, Any]], labels: Path, ending: str) -> None:
    if not labels.exists():
        raise ValueError(f"{labels} does not exist: labels are a folder of files named CASE{ending}.")
    if labels.is_file() and len(items) != 1:
        raise ValueError(f"{labels} is one label, and there are {len(items)} cases: give a folder of CASE{ending}.")
    for item in items:
        file = labels if labels.is_file() else labels / f"{item['case']}{ending}"
        if not file.is_file():
            raise ValueError(f"case {item['case']} has no label: {file} is not there.")
        item["label"] = str(file)


def _check_grids(item: dict[str, Any]) -> None:
    first, *others = item["image"]
    grid = Grid.of_file(Path(first))
    for file in [*others, *([item["label"]] if item["label"] else [])]:
        if difference := Grid.of_file(Path(file)).differs(grid):
            raise ValueError(f"case {item['case']}: {file} must lie on the grid of {first}, and has {difference}.")
