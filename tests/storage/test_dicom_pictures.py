"""Adversarial pictures as DICOM: whole grey levels, within eps, read back as written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from dicom_picture_files import ES, JPEG, VIDEO, picture, save_picture, scene
from PIL import Image

from monai_smia.data import LoadFramed, LoadPictured
from monai_smia.dicom import read_dicom_picture
from monai_smia.storage import BelowOneUnitError, NotStorableError, PhotographStorage

FRAME = scene(5)


def load(path: Path, **more: int) -> torch.Tensor:
    return LoadPictured("image")({"image": str(path), **more})["image"]


def test_pixels_change_by_whole_levels_within_eps(tmp_path: Path) -> None:
    path = save_picture(picture(FRAME, look="YBR_FULL_422", syntax=JPEG), tmp_path / "a.dcm")
    image, storage = load(path), PhotographStorage(tmp_path / "out")
    attacked = image + torch.empty(image.shape).uniform_(-2.4, 2.4, generator=torch.Generator().manual_seed(0))
    eta = attacked.double() - image.double()
    written = storage.write(image, attacked, eps=2.4, source=str(path), stem="a_pgd")
    assert written.name == "a_pgd_adversarial.dcm"
    before, after = (read_dicom_picture(p).pixels.astype(int) for p in (path, written))
    assert np.array_equal(after, np.clip(before + np.rint(eta.permute(1, 2, 0).numpy()).clip(-2, 2), 0, 255))
    assert torch.equal(storage.read(written), load(written))
    assert "at most 2.4 grey levels, 2 stored" in pydicom.dcmread(written).DerivationDescription


def test_an_image_in_the_unit_interval_and_width_first(tmp_path: Path) -> None:
    path = save_picture(picture(FRAME, ES), tmp_path / "a.dcm")
    image = LoadFramed("image", image_only=True)({"image": str(path)})["image"].permute(2, 0, 1) / 255
    assert image.shape == (3, 40, 48)  # channels, columns, rows
    storage = PhotographStorage(tmp_path / "out", level=1 / 255, transposed=True)
    written = storage.write(image, image + 0.01, eps=0.01, source=str(path), stem="a")
    again = storage.read(written)
    assert again.shape == image.shape
    assert float((again - image).abs().max()) == pytest.approx(2 / 255, abs=1e-6)
    loaded = LoadFramed("image", image_only=True)({"image": str(written)})["image"].permute(2, 0, 1)
    assert torch.equal(again, loaded / 255)


def test_a_frame_of_several_is_loaded_by_both_loaders(tmp_path: Path) -> None:
    path = save_picture(picture([scene(0), FRAME], VIDEO), tmp_path / "a.dcm")
    for load in (LoadPictured("image"), LoadFramed("image", image_only=True)):
        item = load({"image": str(path), "frame": 2, "case": "a"})
        assert item.keys() == {"image", "case"}
        axes = (1, 2, 0) if isinstance(load, LoadPictured) else (1, 0, 2)
        assert np.array_equal(item["image"].permute(axes).numpy(), FRAME)


def test_of_a_frame_the_frame_changes(tmp_path: Path) -> None:
    frames = [scene(0), FRAME, scene(1)]
    path = save_picture(picture(frames, VIDEO), tmp_path / "a.dcm")
    image = load(path, frame=2)
    written = PhotographStorage(tmp_path / "out").write(image, image + 1, eps=1.0, source=str(path), stem="a")
    assert np.array_equal(read_dicom_picture(written).pixels, np.clip(FRAME.astype(int) + 1, 0, 255))
    with pytest.raises(NotStorableError, match="has 3 frames: choose one"):  # without the metadata of its loader
        PhotographStorage(tmp_path / "out").write(image.as_tensor(), image, eps=1.0, source=str(path), stem="b")


def test_what_cannot_be_stored(tmp_path: Path) -> None:
    path = save_picture(picture(FRAME, deidentified=False), tmp_path / "a.dcm")
    image, storage = load(path), PhotographStorage(tmp_path / "out")
    with pytest.raises(NotStorableError, match="source is not de-identified"):
        storage.write(image, image + 1, eps=1.0, source=str(path), stem="a")
    with pytest.raises(BelowOneUnitError, match="less than one stored unit"):
        storage.write(image, image, eps=0.5, source=str(path), stem="a")
    with pytest.raises(NotStorableError, match=r"must be on the grid of its source a.dcm"):
        storage.write(image[:, :8], image[:, :8], eps=1.0, source=str(path), stem="a")
    assert (
        PhotographStorage(tmp_path, identified=True).write(image, image, eps=1.0, source=str(path), stem="a").exists()
    )


def test_a_file_that_is_no_dicom_stays_png(tmp_path: Path) -> None:
    Image.fromarray(FRAME).save(tmp_path / "a.png")
    image, storage = load(tmp_path / "a.png"), PhotographStorage(tmp_path / "out")
    written = storage.write(image, image + 1, eps=1.0, source=str(tmp_path / "a.png"), stem="a")
    assert written.suffix == ".png"
    assert torch.equal(storage.read(written), (image + 1).clamp(0, 255))


@pytest.mark.parametrize("level", [0, -1.0])
def test_a_level_is_positive(level: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="level must be a number > 0"):
        PhotographStorage(tmp_path, level=level)
