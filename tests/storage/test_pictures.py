"""Pictures in either order of their axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from monai_smia.storage.pictures import PictureStorage
from monai_smia.transforms import LoadPhotograph


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1)], ids=["rows first", "columns first"])
@pytest.mark.parametrize("size", [(40, 48), (40, 40)], ids=str)
def test_an_attacked_picture_lands_where_it_lies_in_its_file(
    tmp_path: Path, size: tuple[int, int], axes: tuple
) -> None:
    pixels = np.random.default_rng(0).integers(10, 240, (*size, 3)).astype(np.uint8)
    source = tmp_path / "eye.png"
    Image.fromarray(pixels).save(source)
    upright = LoadPhotograph()(source).as_tensor()
    change = torch.zeros_like(upright)
    change[1, 3, 7] = 5.0
    storage = PictureStorage(tmp_path / "out", LoadPhotograph())
    image, adversarial = (t.permute(axes) for t in (upright, upright + change))
    path = storage.write(image, adversarial, eps=5.0, source=str(source), stem="eye")
    assert np.array_equal(np.array(Image.open(path)).astype(int) - pixels, change.permute(1, 2, 0).numpy())


def test_a_picture_that_is_not_that_of_its_file_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "eye.png"
    Image.fromarray(np.full((40, 48, 3), 9, np.uint8)).save(source)
    image = torch.full((3, 40, 48), 10.0)
    with pytest.raises(ValueError, match=r"must hold what its RGB file eye.png \(3, 40, 48\) holds"):
        PictureStorage(tmp_path, LoadPhotograph()).write(image, image, eps=5.0, source=str(source), stem="eye")
