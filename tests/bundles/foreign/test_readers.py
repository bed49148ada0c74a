"""Reading, turning and writing back are inverse to each other, whatever the reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
from PIL import Image

from monai_smia.adapters.monai_bundle.axes import axes_of
from monai_smia.adapters.monai_bundle.chain import chain_of
from monai_smia.adapters.monai_bundle.storing import BundleStorage
from monai_smia.storage import NotStorableError

AFFINES = {
    "LPS": np.diag([-1.0, -1.0, 2.0, 1.0]),
    "turned": np.array([[0, 0, 2.0, 1], [-1.0, 0, 0, 5], [0, -1.5, 0, 3], [0, 0, 0, 1]]),
    "oblique": np.array([[0.9, -0.1, 0, 0], [0.1, 0.9, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1.0]]),
}
READERS: dict[str, dict[str, Any]] = {
    "default": {},
    "NibabelReader": {"reader": "NibabelReader"},
    "as_closest_canonical": {"reader": "NibabelReader", "as_closest_canonical": True},
    "ITKReader": {"reader": "ITKReader"},
    "reverse_indexing": {"reader": "ITKReader", "reverse_indexing": True},
    "not affine_lps_to_ras": {"reader": "ITKReader", "affine_lps_to_ras": False},
    "ensure_channel_first": {"ensure_channel_first": True},
}
PICTURES: dict[str, dict[str, Any]] = {
    "default": {},
    "PILReader": {"reader": "PILReader"},
    "not reverse_indexing": {"reader": "PILReader", "reverse_indexing": False},
    "ITKReader": {"reader": "ITKReader"},
    "ITKReader reverse_indexing": {"reader": "ITKReader", "reverse_indexing": True},
}


def corner_change(folder: Path, source: Path, options: dict[str, Any]) -> torch.Tensor:
    """What is found where 5 is asked for, in a corner of a constant image."""
    first = [] if options.get("ensure_channel_first") else [EnsureChannelFirstd("image")]
    chain = chain_of(Compose([LoadImaged("image", **options), *first]), "image", {"image": str(source)})
    image = chain.read(source).float()
    mark = torch.zeros_like(image.as_tensor())
    mark[(0, 0, 1) if image.ndim == 3 else (0, 0, 0, 0)] = 5
    storage = BundleStorage(folder / "out", chain)
    path = storage.write(image, image + mark, eps=5.0, source=str(source), stem="a")
    return (storage.read(path) - image).as_tensor()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("affine", AFFINES)
def test_a_marked_corner_of_a_volume(affine: str, reader: str, tmp_path: Path) -> None:
    source = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.full((6, 6, 6), 7, np.int16), AFFINES[affine]), source)
    change = corner_change(tmp_path, source, READERS[reader])
    assert change[0, 0, 0, 0] == 5
    assert change.abs().sum() == 5


@pytest.mark.parametrize("reader", PICTURES)
def test_a_marked_corner_of_a_picture(reader: str, tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(source)
    change = corner_change(tmp_path, source, PICTURES[reader])
    assert change[0, 0, 1] == 5
    assert change.abs().sum() == 5


def test_a_reader_that_does_more_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((6, 6, 6), np.int16), np.eye(4)), source)
    with pytest.raises(NotStorableError, match=r"a\.nii\.gz: the bundle's reader does more than to turn the axes"):
        axes_of(lambda path: torch.as_tensor(nib.load(path).get_fdata())[None, ::2], source)
