"""Color pictures in DICOM, of an eye's photograph or an endoscope, as the RGB that they show, frame by frame."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array
from pydicom.uid import (
    HEVCM10P51,
    HEVCMP51,
    HTJ2K,
    JPEG2000,
    MPEG2MPHL,
    MPEG2MPML,
    MPEG4HP41,
    MPEG4HP41BD,
    MPEG4HP42STEREO,
    MPEG4HP422D,
    MPEG4HP423D,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from monai_smia.dicom.files import DicomSeriesError, image_files, naming, parse, read_header
from monai_smia.dicom.kinds import check_is_image

VIDEO = (
    *(MPEG2MPML, MPEG2MPHL, MPEG4HP41, MPEG4HP41BD, MPEG4HP422D, MPEG4HP423D, MPEG4HP42STEREO),
    *(HEVCMP51, HEVCM10P51),
)
WAVELETS = (JPEG2000, JPEG2000Lossless, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL)
LOSSY = {  # transfer syntaxes that lose by their nature, and what LossyImageCompressionMethod calls them
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
}
MAY_LOSE = {JPEG2000: "ISO_15444_1", HTJ2K: "ISO_15444_15"}  # as the header says
COLORS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
GREY = ("MONOCHROME1", "MONOCHROME2")
BITS = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}


@dataclass(frozen=True)
class DicomPicture:
    """One frame of a file.

    Args:
        path: its file.
        header: all that the file says but the pixels.
        frame: its number in the file, from 1 on, as DICOM counts.
        pixels: RGB grey levels ``(rows, columns, 3)`` uint8.
    """

    path: Path
    header: pydicom.Dataset
    frame: int
    pixels: np.ndarray


def read_dicom_picture(path: str | os.PathLike[str], frame: int | None = None) -> DicomPicture:
    """Read one frame of a color picture as RGB, however it is stored.

    RGB in either planar configuration, YBR_FULL and YBR_FULL_422 (JPEG baseline, too), YBR_ICT and YBR_RCT (JPEG 2000),
    uncompressed or compressed. Refused by name: greyscale, a palette, more or fewer than 8 bits a color, video,
    contradictions between header and code stream.

    Args:
        path: the file.
        frame: number of the frame, from 1 on; needed where there are several.

    Raises:
        DicomSeriesError: if it is refused; the file is named.
        ValueError: if there is no such frame, or none of several was chosen.

    Example:
        >>> read_dicom_picture("eye.dcm").pixels.shape  # doctest: +SKIP
        (1536, 2048, 3)
    """
    path = Path(path)
    header = picture_header(path)
    count = frames_in(header)
    if frame is None and count > 1:
        raise ValueError(f"{path.name} has {count} frames: choose one by its number, from 1 on.")
    number = 1 if frame is None else frame
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= count:
        raise ValueError(f"frame must be a whole number from 1 to {count}, the frames of {path.name}, got {number!r}.")
    return DicomPicture(path, header, number, _decoded(path, header, number))


def picture_header(path: Path) -> pydicom.Dataset:
    """All of a picture's file but its pixels.

    Raises:
        DicomSeriesError: if it is no color picture of 8 bits a color; the file is named, and what it is instead.
    """
    header = read_header(path)
    if header is None:
        raise DicomSeriesError(f"{path.name} is a DICOMDIR, no image.")
    with naming(path):
        _check_picture(path, header)
    return header


def frames_in(header: pydicom.Dataset) -> int:
    """How many frames a file has."""
    return int(header.get("NumberOfFrames") or 1)


def picture_name(header: pydicom.Dataset, frame: int | None = None) -> str:
    """What a case of a picture is called: by a hash of its SOPInstanceUID, for files are named after patients.

    Example:
        >>> header = pydicom.Dataset()
        >>> header.SOPInstanceUID = "1.2.3"
        >>> picture_name(header), picture_name(header, 2)
        ('picture_c47f5b18b8a4', 'picture_c47f5b18b8a4_frame0002')
    """
    name = f"picture_{hashlib.sha256(str(header.SOPInstanceUID).encode()).hexdigest()[:12]}"
    return name if frame is None else f"{name}_frame{frame:04d}"


def picture_files(folder: str | os.PathLike[str]) -> tuple[list[tuple[Path, pydicom.Dataset]], list[str]]:
    """The color pictures in a folder and all below it with their headers, and why other images are none.

    Raises:
        DicomSeriesError: if a file is damaged, or there is no DICOM at all.
    """
    found, refused = [], []
    for path in image_files([Path(folder)]):
        header = read_header(path)
        if header is None or "Rows" not in header:  # an index, or a report beside the images
            continue
        try:
            with naming(path):
                _check_picture(path, header)
        except DicomSeriesError as error:
            refused.append(str(error))
        else:
            found.append((path, header))
    return found, refused


def _check_picture(path: Path, header: pydicom.Dataset) -> None:
    """Refuse what is no color picture of 8 bits a color."""
    check_is_image(path, header)
    if "Rows" not in header:
        raise DicomSeriesError(f"{path.name} holds no image ({getattr(header.get('SOPClassUID'), 'name', 'it is')}).")
    look, samples = header.get("PhotometricInterpretation"), header.get("SamplesPerPixel")
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax in VIDEO:
        raise DicomSeriesError(f"{path.name} is a video ({syntax.name}): take its frames out first.")
    if look in GREY:
        kind = header.get("Modality") or "of no modality"
        raise DicomSeriesError(f"{path.name} is greyscale ({look}, {kind}), and must be a color picture.")
    if look == "PALETTE COLOR":
        raise DicomSeriesError(f"{path.name} holds numbers of a palette (PALETTE COLOR); convert it to RGB first.")
    if look not in COLORS or samples != 3:
        raise DicomSeriesError(
            f"{path.name} must have 3 SamplesPerPixel and a PhotometricInterpretation of {', '.join(COLORS)}, got "
            f"{samples} and {look}."
        )
    for name, value in BITS.items():
        if header.get(name) != value:
            raise DicomSeriesError(
                f"{path.name} must hold 8 bits a color, unsigned: {name} must be {value}, got {header.get(name)}."
            )
    wrong = [name for name in ("Rows", "Columns") if not isinstance(header.get(name), int) or header.get(name) < 1]
    if wrong:
        raise DicomSeriesError(f"{path.name} must have one {wrong[0]} > 0, got {header.get(wrong[0])}.")
    if (look in ("YBR_ICT", "YBR_RCT")) and syntax not in WAVELETS:
        raise DicomSeriesError(f"{path.name} says {look}, which JPEG 2000 alone has, and is {syntax.name}.")
    planar = header.get("PlanarConfiguration")
    if planar not in (0, 1) and not syntax.is_encapsulated:
        raise DicomSeriesError(f"{path.name} must have a PlanarConfiguration of 0 or 1, got {planar}.")
    if look == "YBR_FULL_422" and planar == 1 and not syntax.is_encapsulated:
        raise DicomSeriesError(f"{path.name} says YBR_FULL_422 in planes (PlanarConfiguration 1), which cannot be.")
    if frames_in(header) < 1:
        raise DicomSeriesError(f"{path.name} must have one frame or more, got {header.get('NumberOfFrames')}.")


def _decoded(path: Path, header: pydicom.Dataset, frame: int) -> np.ndarray:
    try:
        ds = parse(path)
        if ds.file_meta.TransferSyntaxUID in (JPEGBaseline8Bit, JPEGExtended12Bit):
            _check_transform(path, ds, frame)
        pixels = np.asarray(pixel_array(ds, index=frame - 1))
    except DicomSeriesError:
        raise
    except Exception as error:  # every decoder raises its own
        reason = str(error).replace("\n", " ")
        raise DicomSeriesError(f"the pixels of {path.name} do not decode (truncated?): {reason}") from error
    shape = (int(header.Rows), int(header.Columns), 3)
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise DicomSeriesError(
            f"{path.name} must decode to {shape} of 8 bits, as its header says, got {pixels.shape} {pixels.dtype}."
        )
    return pixels


def _check_transform(path: Path, ds: pydicom.Dataset, frame: int) -> None:
    """Refuse a JPEG whose own color space (Adobe's marker) is another than the header's: one of them lies."""
    stream = next(
        data
        for number, data in enumerate(generate_frames(ds.PixelData, number_of_frames=frames_in(ds)), start=1)
        if number == frame
    )
    place = stream.find(b"\xff\xee\x00\x0eAdobe", 0, 1 << 16)
    if place < 0:
        return
    converted = stream[place + 15] != 0  # the code stream holds YCbCr
    says = str(ds.PhotometricInterpretation)
    if converted != says.startswith("YBR"):
        holds = "YCbCr" if converted else "RGB"
        raise DicomSeriesError(f"{path.name} says {says}, and its JPEG holds {holds} (Adobe's marker): one is wrong.")


def lossy_history(header: pydicom.Dataset, sizes: Sequence[int] = ()) -> dict[str, Any]:
    """What a picture says of compression with loss that its pixels have gone through; what it is now decides as well.

    Args:
        header: of the file.
        sizes: bytes as compressed and as they are, for a ratio that the header does not give.

    Returns:
        The elements: ``LossyImageCompression`` ``"01"`` or ``"00"``, with method and ratio where they are known.
    """
    syntax = header.file_meta.get("TransferSyntaxUID")
    said = header.get("LossyImageCompression")
    lost = syntax in LOSSY or said == "01" or (said != "00" and syntax in MAY_LOSE)
    if not lost:
        return {"LossyImageCompression": "00"}
    told: dict[str, Any] = {"LossyImageCompression": "01"}
    method = header.get("LossyImageCompressionMethod") or (LOSSY | MAY_LOSE).get(syntax)
    ratio = header.get("LossyImageCompressionRatio") or (f"{sizes[1] / sizes[0]:.4g}" if sizes and sizes[0] else None)
    if method and ratio:
        told |= {"LossyImageCompressionMethod": method, "LossyImageCompressionRatio": ratio}
    return told
