from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_smia.targets.fundus import draw_lesions, fundus_datalist, fundus_phantom, write_fundus_phantoms

SIZE = 160


def test_the_seed_decides() -> None:
    first, again, other = (fundus_phantom(SIZE, grade=3, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.lesions, again.lesions)
    assert not np.array_equal(first.image, other.image)


def test_the_same_seed_is_the_same_eye_in_every_grade() -> None:
    """The lesions differ, and nothing else: away from them the photographs agree."""
    healthy, ill = fundus_phantom(SIZE, grade=0, seed=5), fundus_phantom(SIZE, grade=3, seed=5)
    far = ill.lesions.max(0) < 1e-3
    difference = np.abs(healthy.image.astype(int) - ill.image.astype(int)).max(-1)
    assert difference[far].mean() < 0.5
    assert difference[~far].mean() > 1.5
    assert not healthy.lesions.any()


def test_what_makes_a_photograph_of_the_fundus() -> None:
    for seed in range(3):
        phantom = fundus_phantom(SIZE, seed=seed)
        image = phantom.image.astype(float)
        inside = image[phantom.field]
        assert not image[~phantom.field].any(), "black outside of the field of view"
        assert 0.6 < phantom.field.mean() < 0.79
        red, green, blue = inside.mean(0)
        assert red > green > blue > 0
        _, columns = np.nonzero(phantom.field & (image[..., 1] > np.percentile(inside[:, 1], 99.3)))
        assert abs(columns.mean() - SIZE / 2) > 0.15 * SIZE, "the disc, brightest, lies on one side"
        assert columns.std() < 0.12 * SIZE, "in one place"


def share(grade: int, channel: int, count: int = 8) -> float:
    """Mean share of the field that is this kind of lesion."""
    canvas, field = np.full((3, 96, 96), 0.4, np.float32), np.ones((96, 96), bool)
    maps = [draw_lesions(canvas.copy(), field, grade, np.random.default_rng(seed))[channel] for seed in range(count)]
    return float(np.mean(maps))


def test_lesions_make_the_grade() -> None:
    dark, bright, vessels = 0, 1, 2
    assert [share(0, kind) for kind in (dark, bright, vessels)] == [0, 0, 0]
    assert share(1, dark) > 0
    assert share(1, bright) == share(1, vessels) == 0
    assert share(1, dark) < share(2, dark) < share(3, dark)
    assert share(2, bright) > 0
    assert share(2, vessels) == share(3, vessels) == 0
    assert share(4, vessels) > 0


def test_dark_lesions_darken_and_bright_ones_brighten_inside_the_field() -> None:
    field = np.zeros((120, 120), bool)
    field[10:110, 10:110] = True
    for seed in range(5):
        image = np.full((3, 120, 120), 0.4, np.float32)
        lesions = draw_lesions(image, field, 3, np.random.default_rng(seed))
        only_dark, only_bright = (lesions[0] > 0.5) & (lesions[1] < 0.01), (lesions[1] > 0.5) & (lesions[0] < 0.01)
        assert bool((image[1][only_dark] < 0.4).all())
        assert bool((image[1][only_bright] > 0.4).all())
        assert only_dark.any()
        assert np.array_equal(image[:, ~field], np.full_like(image, 0.4)[:, ~field])
        assert not lesions[:, ~field].any()


def test_written_phantoms_are_a_dataset(tmp_path: Path) -> None:
    folder = write_fundus_phantoms(tmp_path / "eyes", 2, grades=[0, 4], size=64, seed=9)
    items = fundus_datalist(folder, split="test")
    assert [item["label"] for item in items] == [0, 4, 0, 4]
    stored = np.asarray(Image.open(items[3]["image"]))
    assert np.array_equal(stored, fundus_phantom(64, grade=4, seed=12).image)


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="size must be at least 64 pixels, got 32"):
        fundus_phantom(32)
    with pytest.raises(ValueError, match="grade must be 0, 1, 2, 3 or 4, got 5"):
        fundus_phantom(64, grade=5)
    with pytest.raises(ValueError, match="grade must be 0, 1, 2, 3 or 4, got -1"):
        draw_lesions(np.zeros((3, 8, 8), np.float32), np.ones((8, 8), bool), -1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="field must hold a field of view"):
        draw_lesions(np.zeros((3, 8, 8), np.float32), np.zeros((8, 8), bool), 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="per_grade must be at least 1, got 0"):
        write_fundus_phantoms(tmp_path, 0)
