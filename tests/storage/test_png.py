from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import ScaleIntensityRange
from PIL import Image
from torch import Tensor

from monai_smia.files import MARK
from monai_smia.storage import BelowOneUnitError, PngStorage
from monai_smia.transforms.photographs import LoadPhotograph

LEVELS = pytest.mark.parametrize("level", [1.0, 1 / 255])


def photograph(folder: Path, name: str = "eye.png") -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def noise(image: Tensor, eps: float) -> Tensor:
    return eps * (2 * torch.rand(image.shape, generator=torch.Generator().manual_seed(1)) - 1)


@LEVELS
@pytest.mark.parametrize("name", ["eye.png", "eye.jpg"])
@pytest.mark.parametrize("radius", [1, 2, 3, 4, 7, 129])
def test_eps_holds_exactly_after_storage(tmp_path: Path, radius: int, name: str, level: float) -> None:
    source, storage = photograph(tmp_path, name), PngStorage(tmp_path / "out", level=level)
    image = storage.read(source)
    eps = radius * level
    path = storage.write(image, image + noise(image, 1.5 * eps), eps=eps, source=str(source), stem="case_pgd")
    before, after = (np.asarray(Image.open(p)).astype(int) for p in (source, path))
    assert np.abs(after - before).max() == radius
    assert torch.allclose(storage.read(path), torch.from_numpy(after).permute(2, 0, 1) * level)


def test_rounding_is_the_only_loss(tmp_path: Path) -> None:
    source, storage = photograph(tmp_path), PngStorage(tmp_path / "out")
    image = storage.read(source)
    adversarial = (image + noise(image, 4.0)).clamp(0, 255)
    path = storage.write(image, adversarial, eps=4.0, source=str(source), stem="case")
    assert float((storage.read(path) - adversarial).abs().max()) <= 0.5


@LEVELS
def test_less_than_one_grey_level_is_refused(tmp_path: Path, level: float) -> None:
    """The paper's radius, 5e-5 of the range, is 0.013 grey levels."""
    source, storage = photograph(tmp_path), PngStorage(tmp_path / "out", level=level)
    image, eps = storage.read(source), 5e-5 * 255 * level
    with pytest.raises(BelowOneUnitError, match=f"eps={eps:g} is less than one stored unit.*at least {level:g}"):
        storage.write(image, image + noise(image, eps), eps=eps, source=str(source), stem="case")
    assert not (tmp_path / "out").exists()


def test_files_are_marked_complete_and_begin_with_the_stem(tmp_path: Path) -> None:
    source, storage = photograph(tmp_path), PngStorage(tmp_path / "out")
    image = storage.read(source)
    path = storage.write(image, image + noise(image, 3.0), eps=3.0, source=str(source), stem="case")
    assert sorted(p.name for p in path.parent.iterdir()) == ["case_adversarial.png", "case_perturbation.png"]
    with Image.open(path) as stored, Image.open(path.with_name("case_perturbation.png")) as change:
        assert stored.info["Comment"] == change.info["Comment"] == MARK
        assert (stored.mode, stored.size) == ("RGB", (36, 24))
        difference = np.asarray(stored).astype(int) - np.asarray(Image.open(source)).astype(int)
        assert np.array_equal(np.asarray(change).astype(int) - 128, difference)


def test_another_grid_and_a_bad_level(tmp_path: Path) -> None:
    source, storage = photograph(tmp_path), PngStorage(tmp_path / "out")
    image = storage.read(source)[:, :20]
    message = r"image \(3, 20, 36\) must be on the grid of its source eye.png \(3, 24, 36\)"
    with pytest.raises(ValueError, match=message):
        storage.write(image, image, eps=1.0, source=str(source), stem="case")
    with pytest.raises(ValueError, match="level must be a number > 0, got 0"):
        PngStorage(tmp_path, level=0)


@pytest.mark.parametrize("loader", [lambda x: x / 255, ScaleIntensityRange(0, 255, 0, 1)])
def test_what_nobody_changed_reads_back_bit_for_bit(tmp_path: Path, loader: Any) -> None:
    """Divided as loaders divide: an untouched frame has no perturbation, and no signal-to-noise ratio of 150 dB."""
    pixels = np.arange(256, dtype=np.uint8).repeat(12).reshape(32, 32, 3)
    Image.fromarray(pixels).save(tmp_path / "frame.png")
    storage = PngStorage(tmp_path / "out", level=1 / 255)
    image = loader(LoadPhotograph()(tmp_path / "frame.png"))
    assert torch.equal(storage.read(tmp_path / "frame.png").as_tensor(), image.as_tensor())
    path = storage.write(image, image, eps=4 / 255, source=str(tmp_path / "frame.png"), stem="a")
    assert torch.equal(storage.read(path).as_tensor(), image.as_tensor())


@LEVELS
def test_the_l2_norm_holds_after_storage(tmp_path: Path, level: float) -> None:
    source, storage = photograph(tmp_path), PngStorage(tmp_path / "out", level=level)
    image = storage.read(source)
    delta = noise(image, 0.9 * level)
    eps = float(delta.double().norm())
    path = storage.write(image, image + delta, eps=eps, source=str(source), stem="a", norm="l2")
    before, after = (np.asarray(Image.open(p)).astype(int) for p in (source, path))
    assert 0 < np.linalg.norm(after - before) * level <= eps * (1 + 1e-12)


def test_a_change_that_the_picture_of_changes_cannot_show_stops_at_its_end(tmp_path: Path) -> None:
    """128 plus the change: 200 levels more are 255, and not 72."""
    Image.fromarray(np.full((8, 8, 3), 20, np.uint8)).save(tmp_path / "dark.png")
    storage = PngStorage(tmp_path / "out")
    image = storage.read(tmp_path / "dark.png")
    path = storage.write(image, image + 200, eps=200, source=str(tmp_path / "dark.png"), stem="case")
    with Image.open(path.with_name("case_perturbation.png")) as change:
        assert np.asarray(change).min() == np.asarray(change).max() == 255
