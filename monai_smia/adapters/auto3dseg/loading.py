"""From an item to what is attacked, as the algorithm's own loader gives it, and an image as files for its `infer`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirst, LoadImage
from torch import Tensor

from monai_smia.adapters.auto3dseg.cases import LABEL
from monai_smia.adapters.auto3dseg.labels import Labels
from monai_smia.adapters.monai_bundle.chain import Chain
from monai_smia.adapters.monai_bundle.parts import is_dicom
from monai_smia.adapters.monai_bundle.ranges import valid_range
from monai_smia.adapters.monai_bundle.several import PARTS
from monai_smia.dicom import scanned_voxels
from monai_smia.storage.limits import NIFTI
from monai_smia.victims.gate import check_same_grid
from monai_smia.victims.preprocessing import as_plain

KEEP, ATTACK = "keep", "attack"


class Auto3DSegLoading:
    """From a case to image, label, the voxels that may change and the valid range; no network is asked.

    Args:
        chain: of the algorithm, the first one's of several.
        items: of the cases, by their names.
        labels: what label maps mean.
        background: ``"keep"`` leaves zeros as they are where an algorithm normalizes by all others; ``"attack"``
            attacks them, too.
        ranged: ask every case for its valid range; False where one is given for all.
    """

    def __init__(
        self, chain: Chain, items: Mapping[str, Mapping[Any, Any]], labels: Labels, *, background: str, ranged: bool
    ) -> None:
        self.chain, self.items, self.labels, self.ranged = chain, items, labels, ranged
        self.background = background
        self.keeps = background == KEEP and chain.goes_by_zeros()
        self._read = Compose([LoadImage(image_only=True), EnsureChannelFirst()])

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        return {"labels": self.labels, "keeps": self.keeps, "ranged": self.ranged}

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """``image``, ``label`` (None where there is none), ``mask`` and ``clip``.

        Raises:
            ValueError: if the label holds other classes, or lies elsewhere than the image.
        """
        source, given = item["image"], self.items[item["case"]]
        image = self.chain.read(source)
        case: dict[str, Any] = {"image": image, "label": None}
        if is_dicom(source):
            case["mask"] = torch.as_tensor(as_plain(scanned_voxels(image, source)))
            image.meta.pop("padding", None)
        if self.keeps:
            there = as_plain(image) != 0
            case["mask"] = there if "mask" not in case else there & (case["mask"] > 0)
        if self.ranged:
            case["clip"] = valid_range(self.chain, source, image, True)
        if given.get(LABEL) is not None:
            label = self._read(given[LABEL])
            case["label"] = MetaTensor(self.labels.truth(as_plain(label)), affine=label.affine)
            if label.shape[1:] != image.shape[1:]:
                raise ValueError(f"label must have the image's shape {tuple(image.shape)}, got {tuple(label.shape)}.")
            check_same_grid(image, case["label"])
        return case


class AsFiles:
    """Images as files of single precision that an algorithm reads as it reads those of the case; gone in the end.

    Args:
        chain: whose loader reads them.
    """

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self._folder = tempfile.TemporaryDirectory()

    def write(self, image: Tensor, source: Any) -> list[str]:
        """Files of an image ``(C, *spatial)``, as many as the case has, with the headers of those.

        Args:
            image: as `Chain.read` gives that of the case, a MetaTensor.
            source: of the case: a file, several, or a DICOM series, which becomes one.

        Raises:
            ValueError: if what the loader gives of them is not the image.
        """
        files = [source] if is_dicom(source) or not isinstance(source, (list, tuple)) else list(source)
        counts = image.meta.get(PARTS) if isinstance(image, MetaTensor) else None
        parts = as_plain(image).detach().cpu().float().split(counts or _even(len(image), len(files)))
        written = []
        for number, (part, file) in enumerate(zip(parts, files, strict=True)):
            path = Path(self._folder.name) / f"image_{number}.nii"
            nib.save(_nifti(part, file, image), path)
            written.append(str(path))
        back = self.chain.read(written if len(written) > 1 or self.chain.source_keys else written[0])
        affine = getattr(image, "affine", back.affine)
        if not torch.equal(as_plain(back).float(), torch.cat(list(parts))) or not _near(back.affine, affine):
            raise ValueError(
                f"the algorithm's loader gives another image of {Path(str(files[0])).name} when it is written as NIfTI."
            )
        return written


def _even(channels: int, files: int) -> list[int]:
    return [channels // files] * files


def _near(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first.cpu().double(), second.cpu().double().reshape(first.shape), atol=1e-4)


def _nifti(part: Tensor, file: Any, image: Tensor) -> Any:
    """An image of one file ``(C, *spatial)``; the header of a NIfTI stays, whose affine is then the same to the bit."""
    values: np.ndarray = part.numpy()
    values = values[0] if len(values) == 1 else np.moveaxis(values, 0, -1)
    if str(file).endswith(NIFTI):
        known: Any = nib.load(str(file))
        header = known.header.copy()
        header.set_data_dtype(np.float32)
        header["cal_min"] = header["cal_max"] = 0
        return type(known)(values.reshape(known.shape), None, header)
    affine = image.affine.cpu().numpy() if isinstance(image, MetaTensor) else np.eye(4)
    return nib.Nifti1Image(values, affine)


def sources_of(chain: Chain, items: Mapping[str, Mapping[Any, Any]]) -> list[Any]:
    """The file or files of every case's image."""
    return [chain.source(item) for item in items.values()]


def width_of(chain: Chain, sources: Sequence[Any]) -> float:
    """Width from the .5th to the 99.5th percentile of the first image that can be read, zeros left out."""
    for source in sources:
        try:
            values = as_plain(chain.read(source)).double().numpy()
        except Exception:  # a broken file is for the evaluation to name
            continue
        there = values[values != 0]
        low, high = np.percentile(there if there.size else values, [0.5, 99.5])
        return float(high - low) or 1.0
    return 1.0
