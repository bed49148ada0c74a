from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_smia.targets.fundus import LocalContrast, LocalContrastd


def eye(size: int = 64, *, seed: int = 0) -> Tensor:
    """A lit disc on black with a little texture, float64."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.linspace(-1, 1, size, dtype=torch.float64)
    disc = (grid[:, None] ** 2 + grid[None] ** 2 < 0.9).double()
    texture = 1 + 0.1 * torch.rand(3, size, size, generator=generator, dtype=torch.float64)
    return disc * texture * torch.tensor([0.7, 0.4, 0.2], dtype=torch.float64)[:, None, None]


def test_brightness_hardly_matters_where_the_light_is_strong() -> None:
    image, contrast = eye(), LocalContrast(floor=1e-6)
    bright, dim = contrast(image), contrast(image * 0.6)
    inside = (slice(None), slice(16, 48), slice(16, 48))
    torch.testing.assert_close(bright[inside], dim[inside], rtol=1e-2, atol=1e-3)


def test_an_even_eye_has_no_contrast_even_at_its_border() -> None:
    image = (eye() > 0).double() * torch.tensor([0.7, 0.4, 0.2], dtype=torch.float64)[:, None, None]
    assert float(LocalContrast()(image).abs().max()) < 0.02


def test_a_lesion_of_known_contrast() -> None:
    image = torch.full((3, 256, 256), 0.4, dtype=torch.float64)
    image[:, 127:129, 127:129] = 0.3
    contrast = LocalContrast()(image)
    assert float(contrast[0, 127, 127]) == pytest.approx(4 * -0.1 / (0.4 + 0.1), rel=0.02)
    assert float(contrast[0, 10, 10]) == pytest.approx(0, abs=0.01)


def test_gradient() -> None:
    shade = torch.tensor([0.02, 0.01, 0.0], dtype=torch.float64)[:, None, None]  # no ties: one channel is the brightest
    image = (eye(16) + shade).requires_grad_(True)
    assert torch.autograd.gradcheck(LocalContrast(sigma=0.1), (image,), eps=1e-7, atol=1e-4)


def test_limit() -> None:
    image = torch.full((3, 64, 64), 0.1)
    image[:, 32, 32] = 1.0
    assert float(LocalContrast(limit=2.0)(image).max()) == 2.0


def test_dictionary_and_metadata() -> None:
    image = MetaTensor(eye().float(), meta={"filename_or_obj": "eye.png"})
    item = LocalContrastd("image", gain=2.0)({"image": image, "label": 1})
    assert isinstance(item["image"], MetaTensor)
    assert item["image"].meta["filename_or_obj"] == "eye.png"
    torch.testing.assert_close(item["image"].as_tensor() * 2, LocalContrast()(image).as_tensor())
    assert item["label"] == 1


@pytest.mark.parametrize("name", ["sigma", "gain", "limit", "floor"])
def test_bad_arguments(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a finite number > 0, got 0"):
        LocalContrast(**{name: 0.0})


def test_an_image_that_is_too_small() -> None:
    with pytest.raises(ValueError, match=r"at least 8 x 8 pixels, got \(3, 1, 1\)"):
        LocalContrast()(torch.zeros(3, 1, 1))
