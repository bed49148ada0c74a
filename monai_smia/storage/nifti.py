"""Adversarial images as files, in whole stored units where the source has them."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirst, LoadImage
from torch import Tensor

from monai_smia.files import MARK
from monai_smia.victims.preprocessing import as_plain


class BelowOneUnitError(ValueError):
    """A radius is less than one unit that the file can hold: nothing of it could be stored."""


class NiftiStorage:
    """Writes an adversarial volume and its perturbation as NIfTI, and reads it back.

    With `like_source` the volume has the grid, header and data type of its source file. Integers change by whole stored
    units: ``stored + clip(rint(eta / slope), -floor(eps / slope), floor(eps / slope))``, so that eps holds exactly and
    rounding is the only loss; floating-point files hold ``image + eta``. Without it (the image was preprocessed before
    it was attacked) both are float32 on the image's own grid. Files are marked as adversarial in their header's
    description and complete or not there.

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

    def __init__(self, folder: str | os.PathLike[str], *, like_source: bool = True) -> None:
        self.folder = Path(folder)
        self.like_source = like_source
        self._read = Compose([LoadImage(image_only=True), EnsureChannelFirst()])

    def write(self, image: Tensor, adversarial: Tensor, *, eps: float, source: str, stem: str) -> Path:
        """Write ``<stem>_adversarial.nii.gz`` and ``<stem>_perturbation.nii.gz``.

        Args:
            image: clean image ``(1, *spatial)``, or ``(C, x, y, z)``, which becomes a file of four dimensions.
            adversarial: of the same shape.
            eps: radius in the image's unit.
            source: file of the clean image; only read.
            stem: beginning of the file names.

        Returns:
            The path of the adversarial volume.

        Raises:
            ValueError: if the image is a picture of several channels, or is not on its source's grid.
            BelowOneUnitError: if eps is less than one stored unit.
        """
        if len(image) != 1 and image.ndim != 4:
            raise ValueError(
                f"image must have one channel, or three dimensions and channels, got {tuple(image.shape)}."
            )
        clean, attacked = (_as_in_file(as_plain(t).cpu().numpy()) for t in (image, adversarial))
        delta = attacked - clean
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{stem}_adversarial.nii.gz"
        if self.like_source:
            volume, change = _in_source_units(nib.Nifti1Image.from_filename(source), delta, eps, source)
        else:
            affine = image.affine.cpu().numpy() if isinstance(image, MetaTensor) else np.eye(4)
            volume = nib.Nifti1Image(attacked.astype(np.float32), affine)
            change = nib.Nifti1Image(delta.astype(np.float32), affine)
        _save(change, self.folder / f"{stem}_perturbation.nii.gz")
        _save(volume, path)
        return path

    def read(self, path: str | os.PathLike[str]) -> MetaTensor:
        """The volume ``(C, *spatial)`` as a pipeline's LoadImage and EnsureChannelFirst give it."""
        return self._read(path)


def _as_in_file(image: np.ndarray) -> np.ndarray:
    """Without the channel, or with the channels last, as NIfTI has them."""
    return image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)


def whole_units(eps: float, unit: float) -> int:
    """How many stored units fit into eps, in exact arithmetic on the decimals as written (0.3 / 0.1 is 3).

    What is missing beyond the twelfth digit is the rounding of eps itself: 129/255 holds 129 times 1/255.

    Raises:
        BelowOneUnitError: if there is not one; the smallest eps that works is named.
    """
    count = int(Fraction(str(float(eps))) / abs(Fraction(str(float(unit)))) * (1 + Fraction(1, 10**12)))
    if count < 1:
        least = f"{abs(unit):g}" if float(f"{abs(unit):g}") >= abs(unit) else repr(abs(float(unit)))
        raise BelowOneUnitError(
            f"eps={eps:g} is less than one stored unit: storage would undo it; use at least {least}."
        )
    return count


def add_whole_units(
    stored: np.ndarray, delta: np.ndarray, *, eps: float, unit: float, limits: tuple[int, int]
) -> np.ndarray:
    """Stored integers plus a perturbation, in integers: ``stored + clip(rint(delta / unit), -k, k)``, k units in eps.

    Args:
        stored: integers.
        delta: perturbation of the same shape in the image's unit.
        eps: radius in the image's unit.
        unit: the image's unit per stored unit.
        limits: lowest and highest integer that can be stored; what would leave them stops there.

    Raises:
        BelowOneUnitError: if eps is less than one stored unit.

    Example:
        >>> add_whole_units(np.array([10, 10, 255]), np.array([1.3, 0.2, 9.0]), eps=1.3, unit=0.5, limits=(0, 255))
        array([ 12,  10, 255])
    """
    bound = whole_units(eps, unit)
    change = np.clip(np.rint(delta.astype(np.float64) / unit), -bound, bound).astype(np.int64)
    return np.clip(stored.astype(np.int64) + change, *limits)


def _in_source_units(
    source: nib.Nifti1Image, delta: np.ndarray, eps: float, name: str
) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    if source.shape[: delta.ndim] != delta.shape or np.prod(source.shape) != delta.size:
        raise ValueError(
            f"image {delta.shape} must be on the grid of its source {Path(name).name} {source.shape}; use like_source="
            "False for images that were preprocessed before the attack."
        )
    delta = delta.reshape(source.shape)
    dtype = source.get_data_dtype()
    proxy: Any = source.dataobj
    slope, inter = proxy.slope, proxy.inter  # the header forgets them when it is loaded
    if np.issubdtype(dtype, np.floating):
        stored = _floats_within(np.asarray(source.dataobj, dtype=np.float64), delta, eps, dtype)
        volume = nib.Nifti1Image(stored, source.affine, _header(source))
        return volume, nib.Nifti1Image(delta.astype(np.float32), source.affine)
    raw = proxy.get_unscaled().astype(np.int64)
    limits = np.iinfo(dtype)
    stored = add_whole_units(raw, delta, eps=eps, unit=slope, limits=(limits.min, limits.max))
    volume = nib.Nifti1Image(stored.astype(dtype), source.affine, _header(source))
    volume.header.set_slope_inter(slope, inter)
    difference = nib.Nifti1Image((stored - raw).astype(np.int32), source.affine)
    difference.header.set_slope_inter(slope, 0.0)
    return volume, difference


def _floats_within(clean: np.ndarray, delta: np.ndarray, eps: float, dtype: np.dtype) -> np.ndarray:
    """``clean + delta`` in the file's precision, a float nearer to the clean value where rounding left the radius."""
    stored = (clean + np.clip(delta.astype(np.float64), -eps, eps)).astype(dtype)
    outside = np.abs(stored.astype(np.float64) - clean) > eps
    return np.where(outside, np.nextafter(stored, clean.astype(dtype)), stored)


def _header(source: nib.Nifti1Image) -> nib.Nifti1Header:
    header = source.header.copy()
    header.set_slope_inter(None, None)
    return header


def _save(volume: nib.Nifti1Image, path: Path) -> None:
    volume.header["descrip"] = MARK
    partial = path.with_name(f".{path.name}")
    nib.save(volume, partial)
    os.replace(partial, path)


def stored_difference(path: str | os.PathLike[str], source: str | os.PathLike[str]) -> float:
    """Largest absolute difference of two NIfTI files in the image's unit, from the files alone."""
    ours, theirs = (nib.Nifti1Image.from_filename(p).get_fdata() for p in (path, source))
    return float(np.abs(ours - theirs).max())
