"""DICOM pictures where MONAI expects pictures: dictionary transforms and a reader."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.image_reader import ImageReader
from monai.transforms import LoadImaged, MapTransform
from monai.utils import MetaKeys

from monai_smia.dicom.files import looks_like_dicom
from monai_smia.dicom.pictures import frames_in, read_dicom_picture
from monai_smia.transforms.photographs import LoadPhotograph

FRAME = "frame"  # of an item, and of an image's metadata where its file has several


def load_dicom_picture(path: str | os.PathLike[str], frame: int | None = None, *, min_size: int = 1) -> MetaTensor:
    """A frame as ``(3, H, W)`` float32 grey levels from 0 to 255, as `LoadPhotograph` gives a photograph.

    Args:
        path: the file.
        frame: its number, from 1 on; needed where there are several.
        min_size: least height and width in pixels.

    Raises:
        ValueError: if the file or the frame is refused (`read_dicom_picture`), or too small.
    """
    picture = read_dicom_picture(path, frame)
    height, width = picture.pixels.shape[:2]
    if min(height, width) < min_size:
        raise ValueError(
            f"image {picture.path.name} must have at least {min_size} x {min_size} pixels, got {width} x {height}."
        )
    value = torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1).float().contiguous()
    if frames_in(picture.header) == 1:
        return MetaTensor(value, meta={"filename_or_obj": os.fspath(path)})
    name = f"{os.fspath(path)}#frame{picture.frame}"  # one file has several answers
    return MetaTensor(value, meta={"filename_or_obj": name, FRAME: picture.frame})


class LoadPictured(MapTransform):
    """Loads photographs as `LoadPhotographd` does, and color pictures of DICOM (`read_dicom_picture`) in the same form.

    An item's ``frame``, a number from 1 on, says which frame of a file is meant that has several.

    Args:
        keys: paths.
        min_size: least height and width in pixels.
        allow_missing_keys: go on where a key is missing.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> path = os.path.join(tempfile.mkdtemp(), "eye.png")
        >>> Image.new("RGB", (48, 32), (200, 90, 30)).save(path)
        >>> LoadPictured("image")({"image": path})["image"].shape
        torch.Size([3, 32, 48])
    """

    def __init__(self, keys: KeysCollection, min_size: int = 32, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.min_size = min_size
        self.load = LoadPhotograph(min_size)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with pictures in place of paths."""
        item = dict(data)
        for key in self.key_iterator(item):
            if os.path.isfile(item[key]) and looks_like_dicom(Path(item[key])):
                item[key] = load_dicom_picture(item[key], item.get(FRAME), min_size=self.min_size)
            else:
                item[key] = self.load(item[key])
        item.pop(FRAME, None)  # the image's metadata have it
        return item


class DicomPictureReader(ImageReader):
    """Reads a color picture of DICOM, of one frame, for LoadImage and LoadImaged.

    Grey levels ``(columns, rows, 3)``, the width first, as MONAI's PILReader has pictures.

    Args:
        frame: its number, from 1 on; needed where a file has several.

    Example:
        >>> from monai.transforms import LoadImage
        >>> load = LoadImage(reader=DicomPictureReader())
    """

    def __init__(self, frame: int | None = None) -> None:
        super().__init__()
        self.frame = frame

    def verify_suffix(self, filename: Any) -> bool:
        """Whether it is one file of DICOM by its looks."""
        names = [filename] if isinstance(filename, (str, os.PathLike)) else filename
        return len(names) == 1 and looks_like_dicom(Path(names[0]))

    def read(self, data: Any, **kwargs: Any) -> Callable[[], np.ndarray]:
        """A reader of the file, which `get_data` calls: where `read` itself raises, LoadImage tries another reader."""
        if not self.verify_suffix(data):
            raise ValueError("data must be one file of DICOM.")
        return partial(_pixels_of, data if isinstance(data, (str, os.PathLike)) else data[0], self.frame)

    def get_data(self, img: Callable[[], np.ndarray]) -> tuple[np.ndarray, dict[str, Any]]:
        """Grey levels and metadata."""
        pixels = img().transpose(1, 0, 2).copy()
        meta = {MetaKeys.ORIGINAL_CHANNEL_DIM: -1, MetaKeys.SPATIAL_SHAPE: np.asarray(pixels.shape[:2])}
        return pixels, {str(key): value for key, value in meta.items()}


def _pixels_of(path: str | os.PathLike[str], frame: int | None) -> np.ndarray:
    return read_dicom_picture(path, frame).pixels


class LoadFramed(LoadImaged):
    """MONAI's LoadImaged, which reads a color picture of DICOM, of several frames the item's ``frame``.

    Args:
        keys: images to load.
        **options: as for LoadImaged.

    Example:
        >>> LoadFramed("image", image_only=True).keys
        ('image',)
    """

    def __init__(self, keys: KeysCollection, **options: Any) -> None:
        super().__init__(keys, **options)
        if options.get("reader") is None:
            self._loader.register(DicomPictureReader())  # the last one is asked first, and leaves other files alone

    def __call__(self, data: Mapping[Hashable, Any], reader: Any = None) -> dict[Hashable, Any]:
        """The item with pictures in place of paths."""
        item = dict(data)
        frame = item.pop(FRAME, None)
        loaded: dict[Hashable, Any] = super().__call__(item, reader if frame is None else DicomPictureReader(frame))
        return loaded
