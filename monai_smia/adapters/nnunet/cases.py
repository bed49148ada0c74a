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


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a file lie, by its header.

    Args:
        size: of its spatial axes, in the file's order.
        affine: from voxels to millimeters, flat; empty where the format does not say.
    """

    size: tuple[int, ...]
    affine: tuple[float, ...] = ()

    @classmethod
    def of_file(cls, path: Path) -> Grid:
        """Of a NIfTI file, a picture, or what else SimpleITK reads.

        Raises:
            ValueError: if its header cannot be read.
        """
        try:
            if path.name.endswith((".nii", ".nii.gz")):
                image: Any = nib.load(path)
                return cls(tuple(image.shape), tuple(np.asarray(image.affine).ravel().tolist()))
            header = SimpleITK.ImageFileReader()
            header.SetFileName(str(path))
            header.ReadImageInformation()
        except Exception as error:  # of either library
            raise ValueError(f"{path} cannot be read: {_reason(path, error)}") from error
        placed = (*header.GetSpacing(), *header.GetOrigin(), *header.GetDirection())
        return cls(tuple(header.GetSize()), () if path.suffix in (".png", ".bmp", ".tif", ".tiff") else placed)

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
    for case in cases:
        _check_channels(case, found[case], names, ending)
    items = [{"case": case, "image": [str(found[case][c]) for c in range(len(names))], "label": None} for case in cases]
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


def _check_channels(case: str, files: dict[int, Path], names: Sequence[str], ending: str) -> None:
    folder = next(iter(files.values())).parent
    for number, name in enumerate(names):
        if number not in files:
            raise ValueError(
                f"case {case} has no channel {number:04d} ({name}): {folder / f'{case}_{number:04d}{ending}'} is not "
                f"there; the model takes {len(names)}: {', '.join(names)}."
            )
    if beyond := sorted(set(files) - set(range(len(names)))):
        raise ValueError(f"case {case}: {files[beyond[0]]} is of no channel, the model takes {', '.join(names)}.")


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
