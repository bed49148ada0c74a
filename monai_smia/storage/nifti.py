"""Adversarial volumes as NIfTI, in whole stored units where the source has them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirst, LoadImage
from torch import Tensor

from monai_smia.files import MARK, replacing
from monai_smia.storage.base import FolderStorage, add_whole_units, check_grid
from monai_smia.storage.whole import check_magnitude, check_whole
from monai_smia.victims.preprocessing import as_plain


class NiftiStorage(FolderStorage):
    """Writes an adversarial volume and its perturbation as NIfTI, and reads it back.

    With `like_source` the volume has the grid and the data type of its source file, nothing else of its header.
    Integers change by whole stored units, ``stored + clip(rint(eta / slope), -k, k)`` with ``k = floor(eps / slope)``,
    so that eps holds exactly and rounding is the only loss; in L2 so many go back a unit that the norm holds, too.
    Floating-point files hold ``image + eta``. Without it (the image was preprocessed before it was attacked) both are
    float32 on the image's own grid. Files are marked as adversarial in their header's description and complete or not
    there.

    Args:
        folder: where to write; made if it does not exist.
        like_source: whether the images are attacked on the grid of their files.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> source = os.path.join(folder, "ct.nii.gz")
        >>> nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), source)
        >>> storage = NiftiStorage(folder)
        >>> image = storage.read(source)
        >>> path = storage.write(image, image + 0.8, eps=2.0, source=source, stem="ct_bim")
        >>> float(storage.read(path).max()), nib.load(path).get_data_dtype().name
        (1.0, 'int16')
    """

    suffix = ".nii.gz"

    def __init__(self, folder: str | os.PathLike[str], *, like_source: bool = True) -> None:
        super().__init__(folder)
        self.like_source = like_source
        self._read = Compose([LoadImage(image_only=True), EnsureChannelFirst()])

    def read(self, path: str | os.PathLike[str]) -> MetaTensor:
        """The volume ``(C, *spatial)`` as a pipeline's LoadImage and EnsureChannelFirst give it.

        Raises:
            DamagedFileError: if the file's checksum says that it is damaged.
        """
        check_whole(path)
        return self._read(path)

    def _encode(
        self, image: Tensor, adversarial: Tensor, *, eps: float, source: str, norm: str
    ) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
        """Both volumes, of images ``(1, *spatial)``, or ``(C, x, y, z)``, which become files of four dimensions."""
        if len(image) != 1 and image.ndim != 4:
            raise ValueError(
                f"image must have one channel, or three dimensions and channels, got {tuple(image.shape)}."
            )
        clean, attacked = (_as_in_file(as_plain(t).cpu().numpy()) for t in (image, adversarial))
        delta = attacked - clean
        if self.like_source:
            return _in_source_units(nib.Nifti1Image.from_filename(source), delta, eps, source, norm)
        affine = image.affine.cpu().numpy() if isinstance(image, MetaTensor) else np.eye(4)
        volume, change = (nib.Nifti1Image(values.astype(np.float32), affine) for values in (attacked, delta))
        return volume, change

    def _save(self, content: nib.Nifti1Image, path: Path) -> None:
        content.header["descrip"] = MARK
        with replacing(path) as temporary:
            nib.save(content, temporary)


def _as_in_file(image: np.ndarray) -> np.ndarray:
    """Without the channel, or with the channels last, as NIfTI has them."""
    return image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)


def _in_source_units(
    source: nib.Nifti1Image, delta: np.ndarray, eps: Any, name: str, norm: str
) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    if source.shape[: delta.ndim] != delta.shape or np.prod(source.shape) != delta.size:
        mend = "; use like_source=False for images that were preprocessed before the attack."
        check_grid(delta.shape, name, source.shape, mend)
    delta = delta.reshape(source.shape)
    if not isinstance(eps, (int, float)) and [len(eps)] != list(delta.shape[3:]):
        raise ValueError(f"eps must be one radius, or one for each channel of {name}, got {len(eps)}.")
    dtype = source.get_data_dtype()
    proxy: Any = source.dataobj
    slope, inter = proxy.slope, proxy.inter  # the header forgets them when it is loaded
    if np.issubdtype(dtype, np.floating):
        within = _floats_within if norm == "linf" else _floats_within_l2
        stored = within(np.asarray(source.dataobj, dtype=np.float64), delta, eps, dtype)
        volume = nib.Nifti1Image(stored, source.affine, header_of(source))
        return volume, nib.Nifti1Image(delta.astype(np.float32), source.affine)
    raw = proxy.get_unscaled().astype(np.int64)
    if dtype.itemsize > 2:
        check_magnitude(float(np.abs(raw).max()), Path(name).name)
    limits = np.iinfo(dtype)
    bounds = {"eps": eps, "unit": slope, "limits": (limits.min, limits.max), "slack": SINGLE}
    stored = add_whole_units(raw, delta, norm=norm, **bounds)
    volume = nib.Nifti1Image(stored.astype(dtype), source.affine, header_of(source))
    volume.header.set_slope_inter(slope, inter)
    difference = nib.Nifti1Image((stored - raw).astype(np.int32), source.affine)
    difference.header.set_slope_inter(slope, 0.0)
    return volume, difference


def _floats_within(clean: np.ndarray, delta: np.ndarray, eps: Any, dtype: np.dtype) -> np.ndarray:
    """``clean + delta`` in the file's precision, a float nearer to the clean value where rounding left the radius."""
    eps = np.asarray(eps, dtype=np.float64)  # one, or one per channel
    stored = (clean + np.clip(delta.astype(np.float64), -eps, eps)).astype(dtype)
    outside = np.abs(stored.astype(np.float64) - clean) > eps
    return np.where(outside, np.nextafter(stored, clean.astype(dtype)), stored)


def _floats_within_l2(clean: np.ndarray, delta: np.ndarray, eps: float, dtype: np.dtype) -> np.ndarray:
    """``clean + delta`` in the file's precision, delta shortened until what is stored is within the radius."""
    delta = delta.astype(np.float64)
    stored = (clean + delta).astype(dtype)
    while (norm := float(np.linalg.norm(stored.astype(np.float64) - clean))) > eps:
        delta *= min(eps / norm, 1) * (1 - 1e-6)
        stored = (clean + delta).astype(dtype)
    return stored


SINGLE = 2.0**-23  # a header holds its slope in float32, of which 8/255 holds 8 times 1/255
GEOMETRY = (
    *("dim", "datatype", "bitpix", "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c"),
    *("quatern_d", "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


def header_of(source: nib.Nifti1Image) -> nib.Nifti1Header:
    """Grid and data type of a file, in a header of its own: other fields and extensions hold text."""
    header = nib.Nifti1Header()
    for name in GEOMETRY:
        header[name] = source.header[name]
    return header


def stored_difference(path: str | os.PathLike[str], source: str | os.PathLike[str]) -> float:
    """Largest absolute difference of two NIfTI files in the image's unit, from the files alone."""
    ours, theirs = (nib.Nifti1Image.from_filename(p).get_fdata() for p in (path, source))
    return float(np.abs(ours - theirs).max())
