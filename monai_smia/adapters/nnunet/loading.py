"""From the files of a case to what is attacked, as nnU-Net's own reader gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_smia.adapters.monai_bundle.axes import Axes, axes_of
from monai_smia.adapters.monai_bundle.units import UNITS, OwnUnits, range_in_units
from monai_smia.adapters.nnunet.deployed import Deployed
from monai_smia.adapters.nnunet.normalization import RGB
from monai_smia.adapters.nnunet.preprocessing import Preprocessing, filled
from monai_smia.adapters.nnunet.victim import SPACING
from monai_smia.storage.limits import NIFTI, file_range

KEEP, ATTACK = "keep", "attack"


class NNUNetReading:
    """Reads images as nnU-Net does, ``(C, *spatial)`` with the axes of its reader; of a flat file they are two.

    Args:
        deployed: the model.
    """

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self._known: tuple[str, Axes] | None = None

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        return {"deployed": self.deployed}

    def __call__(self, files: Sequence[str | Path]) -> MetaTensor:
        """An image whose affine is that of its file, its axes turned as the reader turns them."""
        values, properties = self.deployed.read(files)
        spacing = [float(size) for size in properties["spacing"]]
        flat = values.shape[1] == 1 and _rank(files[0]) == 2
        image = torch.from_numpy(values[:, 0] if flat else values).clone()
        affine = np.diag([*spacing[1 if flat else 0 :], 1.0])
        if _is_nifti(files[0]):
            header: Any = nib.load(files[0])
            affine = _turned(np.asarray(header.affine), self.axes(files[0]), image.shape[1:])
        return MetaTensor(image, affine=torch.from_numpy(affine), meta={SPACING: spacing})

    def axes(self, file: str | Path) -> Axes:
        """How the reader turns the axes of a NIfTI file; the next one of a case is its last one's."""
        if self._known is None or self._known[0] != str(file):
            self._known = str(file), axes_of(self._plain, file)
        return self._known[1]

    def _plain(self, file: Any) -> Tensor:
        values, _ = self.deployed.read([file])
        return torch.from_numpy(values[:, 0] if values.shape[1] == 1 and _rank(file) == 2 else values)


class NNUNetLoading:
    """From a case to image, label, the voxels that may change and the valid range; no network is asked.

    Args:
        reading: of images.
        preprocessing: says whether nnU-Net goes by the zeros around a body.
        background: ``"keep"`` leaves those zeros as they are, ``"attack"`` attacks them, too.
        ranged: ask every case for its valid range; False where one is given for all.
        units: what images are attacked in; None for the unit of their files.
    """

    def __init__(
        self,
        reading: NNUNetReading,
        preprocessing: Preprocessing,
        *,
        background: str,
        ranged: bool,
        units: OwnUnits | None = None,
    ) -> None:
        self.reading, self.preprocessing, self.background, self.ranged = reading, preprocessing, background, ranged
        self.units = units

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        names = ("reading", "preprocessing", "background", "ranged", "units")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """``image``, ``label`` (None where there is none), ``mask``, ``clip``, and where there are such ``units``."""
        image, deployed = self.reading(item["image"]), self.reading.deployed
        label = None
        if item["label"] is not None:
            values = torch.from_numpy(deployed.read_label(item["label"]).copy())
            label = deployed.labels.truth(values[0] if image.ndim == 3 else values)
        case: dict[str, Any] = {"image": image, "label": label}
        if self.background == KEEP:
            case["mask"] = self._inside(image)
        if self.units is not None:
            case["image"] = self.units(image)
            case["units"] = tuple(case["image"].meta[UNITS])
        if self.ranged:
            case["clip"] = self._range(item["image"], case)
        return case

    def _inside(self, image: MetaTensor) -> Tensor | None:
        """All but the zeros around the body, where nnU-Net crops or normalizes by them; None where it does neither."""
        plain = image.as_tensor()
        nonzero = (plain != 0).any(0)
        volume = plain if plain.ndim == 4 else plain[:, None]
        placement = self.preprocessing.placed(volume, image.meta[SPACING])
        if not any(placement.around) and placement.mask is None:
            return None
        return filled(nonzero)[None].expand(plain.shape)

    def _range(self, files: Sequence[str], case: Mapping[str, Any]) -> tuple[float, float] | None:
        """What every file of the case can hold; None where that is any number."""
        ranges = [file_range(file) for file in files]
        if any(channel.scheme == RGB for channel in self.preprocessing.channels):
            ranges.append((0.0, 255.0))  # beyond which nnU-Net refuses an image
        known = [each for each in ranges if each is not None]
        if (units := case.get("units")) is not None:
            if len(ranges) != len(units):  # a color picture: one file of several channels
                ranges = [(max(low for low, _ in known), min(high for _, high in known)) if known else None] * len(
                    units
                )
            return range_in_units(ranges, torch.tensor(units), case["image"])
        return (max(low for low, _ in known), min(high for _, high in known)) if known else None


def _is_nifti(file: str | Path) -> bool:
    return str(file).endswith(NIFTI)


def _rank(file: str | Path) -> int:
    """Number of spatial axes of a file."""
    if _is_nifti(file):
        header: Any = nib.load(file)
        return len(header.shape)
    return 2 if Path(file).suffix in (".png", ".bmp") else 3


def _turned(affine: np.ndarray, axes: Axes, shape: Sequence[int]) -> np.ndarray:
    """The affine of an image whose axes are turned: where its voxel lies is where that of the file did."""
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for ours, theirs in enumerate(axes.order):
        back = ours in axes.flipped
        turn[theirs, ours] = -1 if back else 1
        turn[theirs, 3] = shape[ours] - 1 if back else 0
    if len(axes.order) == 2:
        turn[2, 2] = 1
    return affine @ turn
