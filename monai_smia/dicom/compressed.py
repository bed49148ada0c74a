"""Lossless compression of a plane by GDCM, which comes with the package."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydicom import dcmread, dcmwrite
from pydicom.dataset import FileDataset
from pydicom.uid import UID, JPEGLSLossless, RLELossless

from monai_smia.nearest import nearest

# not JPEG 2000: GDCM's encoder writes beyond its buffer where an image does not become smaller
COMPRESSIONS: dict[str, UID] = {"jpegls": JPEGLSLossless, "rle": RLELossless}


def check_compression(name: str | None) -> str | None:
    """A name of `COMPRESSIONS`, or None for uncompressed pixels.

    Raises:
        ValueError: if it is something else.

    Example:
        >>> check_compression("jpeg")
        Traceback (most recent call last):
        ValueError: compression must be one of jpegls, rle or None, got 'jpeg'; did you mean jpegls?
    """
    if name is not None and name not in COMPRESSIONS:
        known = ", ".join(COMPRESSIONS)
        raise ValueError(f"compression must be one of {known} or None, got {name!r}{nearest(name, COMPRESSIONS)}")
    return name


def compress(dataset: FileDataset, name: str) -> None:
    """Compress the pixels of a plane without loss, in place; its other elements stay.

    GDCM writes a file of its own, of which the pixels alone are taken.

    Args:
        dataset: uncompressed, explicit VR little endian, with its file meta information.
        name: of `COMPRESSIONS`.

    Raises:
        ValueError: if GDCM cannot compress such pixels.
    """
    import gdcm

    syntax = COMPRESSIONS[name]
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = (str(Path(folder) / each) for each in ("plain.dcm", "packed.dcm"))
        dcmwrite(plain, dataset, enforce_file_format=True)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(plain)
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
        done = reader.Read()
        if done:
            change.SetInput(reader.GetImage())
            done = change.Change()
        if done:
            writer.SetFileName(packed)
            writer.SetFile(reader.GetFile())
            writer.SetImage(change.GetOutput())
            done = writer.Write()
        if not done:
            raise ValueError(f"compression={name!r}: GDCM cannot compress pixels of {dataset.BitsStored} bits so.")
        pixels = dcmread(packed).PixelData
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = pixels
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
