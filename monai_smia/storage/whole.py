"""Files that say by a checksum whether they are whole, read to their end."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

CHUNK = 1 << 20
PNG = b"\x89PNG\r\n\x1a\n"
EXACT = 1 << 24  # whole numbers up to here are exact in float32, which networks compute in


class DamagedFileError(OSError):
    """A file's own checksum says that it is damaged."""


def check_whole(path: str | os.PathLike[str]) -> None:
    """Raise where a file is damaged by its own account; one without a checksum passes.

    Readers stop where they have what they want: NiBabel before the checksum of a ``.nii.gz``, Pillow without that of a
    PNG's pixels. Read here are gzip to its trailer and every chunk of a PNG.

    Args:
        path: a file; folders are not looked into.

    Raises:
        DamagedFileError: if a checksum or size does not match, or the file is empty or ends too early; it is named.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt.gz"
        >>> _ = path.write_bytes(gzip.compress(b"voxels")[:-1])
        >>> check_whole(path)
        Traceback (most recent call last):
        monai_smia.storage.whole.DamagedFileError: a.txt.gz is damaged: Compressed file ended before the end-of-stream \
marker was reached. Fetch it again.
    """
    path = Path(path)
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(len(PNG))
    if not head:
        raise DamagedFileError(f"{path.name} is empty, 0 bytes. Fetch it again.")
    try:
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path) as stream:
                while stream.read(CHUNK):
                    pass
        elif path.suffix == ".gz":
            raise ValueError("it is no gzip file")
        elif head == PNG:
            _check_chunks(path.read_bytes())
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DamagedFileError(f"{path.name} is damaged: {str(error).rstrip('.')}. Fetch it again.") from None


def check_placed(path: str | os.PathLike[str]) -> None:
    """Raise where a NIfTI file's affine is none: readers take another one, without a word.

    Raises:
        ValueError: if it is singular, or not finite.
    """
    path = Path(path)
    if not path.is_file() or not path.name.endswith((".nii", ".nii.gz")):
        return
    try:
        affine = nib.load(path).affine  # type: ignore[attr-defined]  # of a NIfTI file
    except Exception:  # what is no NIfTI file is for its reader to name
        return
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ValueError(f"{path.name} does not say where its voxels lie: its affine is singular, or not finite.")


def check_exact(path: str | os.PathLike[str]) -> None:
    """Raise where a NIfTI file holds values that float32 does not: complex ones, colors, or large whole numbers.

    Raises:
        ValueError: if it holds complex values or colors, or an integer file's values lie beyond 2^24.
        DamagedFileError: if it has no header that can be read.
    """
    path = Path(path)
    if not path.is_file() or not path.name.endswith((".nii", ".nii.gz", ".hdr", ".img")):
        return
    try:
        volume = nib.Nifti1Image.from_filename(path) if path.suffix != ".hdr" else None
    except (WrapStructError, HeaderDataError, ImageFileError) as error:
        raise DamagedFileError(f"{path.name} is no NIfTI file that can be read: {str(error).rstrip('.')}.") from None
    kind = None if volume is None else volume.get_data_dtype().kind
    if kind in ("c", "V"):
        what = "complex values" if kind == "c" else "colors"
        raise ValueError(f"{path.name} must hold one number a voxel, got {what}, of which readers drop a part.")
    if volume is None or volume.get_data_dtype().kind not in "iu" or volume.get_data_dtype().itemsize < 4:
        return
    most = float(np.abs(np.asarray(volume.dataobj, dtype=np.float64)).max())
    check_magnitude(most, path.name)


def check_magnitude(most: float, name: str) -> None:
    """Raise where whole numbers of this size are not exact in float32.

    Raises:
        ValueError: with what to do.
    """
    if most > EXACT:
        raise ValueError(
            f"{name} holds whole numbers up to {most:.0f}, of which float32, in which networks compute, keeps those to "
            f"{EXACT} (2^24) alone: scale the image before it is attacked."
        )


def _check_chunks(data: bytes) -> None:
    """Every chunk of a PNG to the last one, ``IEND``."""
    place, kind = len(PNG), b""
    while kind != b"IEND":
        size, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        end = place + 8 + size
        if end + 4 > len(data):
            raise ValueError("it ends too early")
        if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError(f"the checksum of its chunk {kind.decode('latin-1')} does not match")
        place = end + 4
