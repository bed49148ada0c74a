"""Colour photographs as MONAI transforms load them."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from PIL import Image

__all__ = ["LoadPhotograph", "LoadPhotographd", "check_picture"]

ORIENTATION = 0x0112  # of EXIF
BITS_PER_SAMPLE = 258  # of TIFF

MODES = {
    "L": "greyscale",
    "1": "black and white",
    "P": "a palette",
    "CMYK": "CMYK",
    "RGBA": "an alpha channel",
    "LA": "greyscale with alpha",
}


def check_picture(image: Image.Image, name: str) -> None:
    """Raise where an opened file is not one upright picture of 8 bits a color, whatever its mode says.

    Args:
        image: as PIL has opened it.
        name: of the file.

    Raises:
        ValueError: if it has more bits, which PIL drops, pages or frames, or an EXIF orientation, which MONAI's readers
            ignore.

    Example:
        >>> check_picture(Image.new("RGB", (4, 4)), "a.png")
    """
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise ValueError(f"image {name} must be one picture, got {image.format} of {pages} pages or frames.")
    bits = [str(part) for tile in getattr(image, "tile", ()) for part in np.ravel(np.array(tile[3], dtype=object))]
    samples = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, ())
    deep = any(";16" in part for part in bits) or any(sample > 8 for sample in np.atleast_1d(samples))
    if deep and image.mode in ("RGB", "RGBA"):
        raise ValueError(
            f"image {name} must be an 8-bit RGB photograph, got 16 bits a color, of which half would be dropped; "
            "convert it first."
        )
    turned = image.getexif().get(ORIENTATION, 1)
    if turned != 1:
        raise ValueError(
            f"image {name} must stand upright, got an EXIF orientation of {turned}, which viewers obey and readers "
            "ignore; turn its pixels and drop the tag."
        )


class LoadPhotograph(Transform):
    """Loads an 8-bit RGB photograph as ``(3, H, W)`` float32 grey levels from 0 to 255, rows downwards.

    MONAI's LoadImage takes any mode, and a greyscale or CMYK file would reach the network as something that it was not
    trained on. This one says what is wrong with the file.

    Args:
        min_size: least height and width in pixels.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no image or ends too early, is not 8-bit RGB, or is smaller than `min_size`.

    Example:
        >>> import tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "eye.png")
        >>> Image.new("RGB", (48, 32), (200, 90, 30)).save(path)
        >>> image = LoadPhotograph()(path)
        >>> tuple(image.shape), image[:, 0, 0].tolist()
        ((3, 32, 48), [200.0, 90.0, 30.0])
    """

    def __init__(self, min_size: int = 32) -> None:
        self.min_size = min_size

    def __call__(self, path: str | os.PathLike[str]) -> MetaTensor:
        """The photograph, its file name in its metadata."""
        if not os.path.isfile(path):
            raise FileNotFoundError(f"image {os.fspath(path)} does not exist.")
        try:
            with Image.open(path) as image:
                mode, size = image.mode, image.size
                check_picture(image, os.fspath(path))
                pixels = np.array(image)
        except (OSError, SyntaxError) as error:  # PIL raises SyntaxError for a broken PNG
            raise ValueError(f"image {os.fspath(path)} cannot be read, is it whole? {error}") from error
        if mode != "RGB":
            what = MODES.get(mode, "16 bits or more a pixel" if mode.startswith(("I", "F")) else f"mode {mode}")
            raise ValueError(
                f"image {os.fspath(path)} must be an 8-bit RGB photograph, got {what}; convert it to RGB first."
            )
        if min(size) < self.min_size:
            raise ValueError(
                f"image {os.fspath(path)} must have at least {self.min_size} x {self.min_size} pixels, got "
                f"{size[0]} x {size[1]}."
            )
        value = torch.from_numpy(pixels).permute(2, 0, 1).float().contiguous()
        return MetaTensor(value, meta={"filename_or_obj": os.fspath(path)})


class LoadPhotographd(MapTransform):
    """Dictionary version of `LoadPhotograph`.

    Args:
        keys: paths.
        min_size: least height and width in pixels.
        allow_missing_keys: go on where a key is missing.
    """

    def __init__(self, keys: KeysCollection, min_size: int = 32, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.load = LoadPhotograph(min_size)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with photographs in place of paths."""
        return {**data, **{key: self.load(data[key]) for key in self.key_iterator(data)}}
