from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from monai_smia.data import LoadPhotograph, LoadPhotographd


def pixels(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_rows_columns_and_channels(tmp_path: Path) -> None:
    Image.fromarray(pixels()).save(tmp_path / "eye.png")
    image = LoadPhotograph()(tmp_path / "eye.png")
    assert torch.equal(image.as_tensor(), torch.from_numpy(pixels()).permute(2, 0, 1).float())
    assert image.meta["filename_or_obj"] == str(tmp_path / "eye.png")
    item = LoadPhotographd("image")({"image": str(tmp_path / "eye.png"), "label": 3})
    assert torch.equal(item["image"], image)
    assert item["label"] == 3


@pytest.mark.parametrize(
    ("mode", "name", "message"),
    [
        ("L", "eye.png", "must be an 8-bit RGB photograph, got greyscale; convert it to RGB first"),
        ("CMYK", "eye.jpg", "must be an 8-bit RGB photograph, got CMYK"),
        ("RGBA", "eye.png", "got an alpha channel"),
        ("P", "eye.png", "got a palette"),
        ("I;16", "eye.png", "got 16 bits or more a pixel"),
    ],
)
def test_other_modes_are_refused(tmp_path: Path, mode: str, name: str, message: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(pixels()[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(pixels()).convert(mode)
    image.save(tmp_path / name)
    with pytest.raises(ValueError, match=message) as error:
        LoadPhotograph()(tmp_path / name)
    assert name in str(error.value)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("name", ["eye.jpg", "eye.png"])
def test_a_truncated_file(tmp_path: Path, name: str, share: float) -> None:
    Image.fromarray(pixels(200, 200)).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=f"{name} cannot be read, is it whole"):
        LoadPhotograph()(tmp_path / name)


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "eye.png")
    with pytest.raises(ValueError, match=r"eye\.png must have at least 32 x 32 pixels, got 1 x 1"):
        LoadPhotograph()(tmp_path / "eye.png")
    assert LoadPhotograph(min_size=1)(tmp_path / "eye.png").shape == (3, 1, 1)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"eye\.png does not exist"):
        LoadPhotograph()(tmp_path / "eye.png")
