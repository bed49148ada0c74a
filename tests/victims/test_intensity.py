"""The scale of transforms that nobody knows: measured on the image, or refused, never 1."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from chains import body
from monai.data import MetaTensor
from monai.transforms import (
    AdjustContrast,
    Compose,
    EnsureType,
    GaussianSmooth,
    Lambda,
    Lambdad,
    MapTransform,
    NormalizeIntensity,
    Resize,
    ScaleIntensity,
    ScaleIntensityRange,
    ShiftIntensity,
    Spacing,
    SpatialPad,
    ThresholdIntensity,
    Transform,
)
from torch import Tensor, nn

from monai_smia.attacks import BIM
from monai_smia.victims import SegmentationVictim
from monai_smia.victims.preprocessing import FrozenPreprocessing


def window(image: Tensor) -> Tensor:
    return (image + 1000) / 1400


class Window(Transform):
    """Out of a bundle's scripts."""

    def __call__(self, image: Tensor) -> Tensor:
        return window(image).clamp(0, 1)


class Windowd(MapTransform):
    def __call__(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**data, "image": Window()(data["image"])}


MEASURED: dict[str, tuple[Callable, float]] = {
    "Lambda": (Lambda(window), 1 / 1400),
    "Lambdad": (Lambdad("image", window), 1 / 1400),
    "function": (window, 1 / 1400),
    "clipped": (Window(), 1 / 1400),
    "clipped dictionary": (Windowd("image"), 1 / 1400),
    "negative": (Lambda(lambda i: 1 - i * 0.25), -0.25),
    "in place": (Lambda(lambda i: i.mul_(3)), 3.0),
    "numpy": (Lambda(lambda i: MetaTensor(torch.as_tensor(i.cpu().numpy() * 0.5))), 0.5),
    "shift": (ShiftIntensity(10.0, safe=False), 1.0),
    "threshold": (ThresholdIntensity(-500, cval=-500), 1.0),
    "own statistics": (Lambda(lambda i: (i - i.mean()) / 7), 1 / 7),
}


@pytest.mark.parametrize("shape", [(20, 14, 18), (64, 50, 45)], ids=["small", "large"])
@pytest.mark.parametrize("name", MEASURED)
class TestMeasured:
    def test_it_is_the_slope(self, name: str, shape: tuple[int, ...]) -> None:
        transform, slope = MEASURED[name]
        frozen = FrozenPreprocessing(Compose([transform]), body(shape))
        assert frozen.intensity_scale == pytest.approx(slope, rel=2e-3)

    def test_at_its_place_in_the_chain(self, name: str, shape: tuple[int, ...]) -> None:
        transform, slope = MEASURED[name]
        if isinstance(transform, MapTransform):
            pytest.skip("the chain is of array transforms")
        chain = Compose([EnsureType(), transform, SpatialPad(24), ScaleIntensityRange(0, 10, 0, 1)])
        frozen = FrozenPreprocessing(chain, body(shape))
        assert frozen.intensity_scale == pytest.approx(slope / 10, rel=2e-3)

    def test_without_an_image_it_is_refused_by_name(self, name: str, shape: tuple[int, ...]) -> None:
        transform, _ = MEASURED[name]
        victim = SegmentationVictim(nn.Conv3d(1, 2, 1), preprocessing=Compose([transform]))
        with pytest.raises(ValueError, match=f"image must be given: how {type(transform).__name__} scales"):
            victim.intensity_scale()
        assert victim.intensity_scale(body(shape)[None]) != 1 or name in ("shift", "threshold")


def test_the_smallest_input_of_the_entry() -> None:
    """It was 1, and .05 of the network's units became .05 HU instead of 70."""
    unit = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))  # rounding of i + 1000 is seen in it
    flat = SegmentationVictim(nn.Conv2d(1, 2, 1), preprocessing=Compose([Lambda(window)]))
    assert flat.intensity_scale(unit) == pytest.approx(1 / 1400, rel=1e-3)
    victim = SegmentationVictim(nn.Conv3d(1, 2, 1), preprocessing=Compose([Lambda(lambda i: (i + 1000) / 1400)]))
    image = body()[None]
    assert 0.05 / victim.intensity_scale(image) == pytest.approx(70)
    result = BIM(eps=70.0, clip=None, steps=1)(victim, image, torch.ones(image.shape))
    moved = victim.network_input(result.adversarial.as_tensor()) - victim.network_input(image.as_tensor())
    assert float(moved.abs().max()) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (
            Lambda(torch.sigmoid),
            "Lambda must scale intensities by one slope to have a radius converted, got slopes from",
        ),
        (Lambda(lambda i: torch.sigmoid(i / 200)), "Lambda must scale intensities by one slope"),
        (Lambda(lambda i: i**2 / 1000), "Lambda must scale intensities by one slope"),
        (Lambda(lambda i: i.clamp(-1000, 400).where(i < 0, i / 2)), "Lambda must scale intensities by one slope"),
        (
            Lambda(lambda i: (i / 100).round() / 14),
            "Lambda must scale intensities by one slope .* got slopes from 0 to",
        ),
        (
            Lambda(lambda i: i - i.clamp(-200, 200)),
            "Lambda must scale intensities by one slope .* got slopes from 0 to",
        ),
        (AdjustContrast(0.5), "AdjustContrast must scale intensities by one slope|AdjustContrast mixes voxels"),
        (GaussianSmooth(1.0), "GaussianSmooth mixes voxels, so that its scale cannot be measured"),
        (Lambda(lambda i: i * 0), "Lambda does not answer to changes of the image"),
        (Lambda(lambda i: i * torch.linspace(1, 2, i.shape[-1])), "Lambda must scale intensities by one slope"),
        (Lambda(lambda i: torch.cat([i, i])), "Lambda scales intensities cannot be measured, it changes the grid"),
    ],
)
@pytest.mark.parametrize("shape", [(20, 14, 18), (64, 50, 45)], ids=["small", "large"])
def test_what_has_no_one_slope_is_refused_by_name(transform: Callable, message: str, shape: tuple[int, ...]) -> None:
    """A sigmoid window was scaled by .004, its slope is at most .001."""
    frozen = FrozenPreprocessing(Compose([transform]), body(shape))
    with pytest.raises(ValueError, match=message):
        _ = frozen.intensity_scale


def test_images_of_different_scales_are_no_batch() -> None:
    """What belongs to a case is asked of each case, never of the first."""
    image = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    victim = SegmentationVictim(nn.Conv2d(1, 2, 1), preprocessing=Compose([ScaleIntensity()]))
    image[1] *= 2
    with pytest.raises(
        ValueError, match=r"scales the images of the batch differently, by \[1\..*; use batches of one case"
    ):
        victim.intensity_scale(image)
    assert victim.intensity_scale(image[1:]) == pytest.approx(victim.intensity_scale(image[1:] / 2) / 2, rel=1e-5)


def test_channels_of_different_slopes() -> None:
    image = torch.rand(2, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    frozen = FrozenPreprocessing(Compose([Lambda(lambda i: i * torch.tensor([1.0, 2.0]).view(2, 1, 1, 1))]), image)
    with pytest.raises(ValueError, match=r"Lambda must scale intensities by one slope .* from 1 to 2"):
        _ = frozen.intensity_scale


def test_known_transforms_count_as_before() -> None:
    chain = [
        Spacing((2.0, 2.0, 2.0)),
        Resize((8, 8, 8)),
        ScaleIntensityRange(-1000, 400, 0, 1),
        EnsureType(track_meta=False),
    ]
    frozen = FrozenPreprocessing(Compose(chain), body())
    assert frozen.intensity_scale == pytest.approx(1 / 1400)
    victim = SegmentationVictim(nn.Conv3d(1, 2, 1), preprocessing=Compose(chain))
    assert victim.intensity_scale() == pytest.approx(1 / 1400)
    only_label = SegmentationVictim(nn.Conv3d(1, 2, 1), preprocessing=Compose([Lambdad("label", window)]))
    assert only_label.intensity_scale(body()[None]) == 1


@pytest.mark.parametrize(
    "transform", [ScaleIntensity(minv=None, maxv=None, factor=0.5), NormalizeIntensity(divisor=4.0)]
)
def test_of_given_numbers(transform: Callable) -> None:
    image = torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    scale = FrozenPreprocessing(Compose([transform]), image).intensity_scale
    assert scale == pytest.approx(1.5 if isinstance(transform, ScaleIntensity) else 0.25)


@pytest.mark.parametrize("bounds", [(None, 1.0), (0.0, None), (0.0, 1.0), (None, None)], ids=str)
def test_scale_intensity_with_one_bound_takes_its_scale_from_the_image(
    bounds: tuple[float | None, float | None],
) -> None:
    """MONAI brings it to [0, 1] wherever one of the two is given; it was taken for a factor, and its scale for 1."""
    array = ScaleIntensity(*bounds, factor=1.5 if bounds == (None, None) else None)
    victim = SegmentationVictim(nn.Identity(), preprocessing=Compose([array]))
    image = MetaTensor(torch.rand(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0)) * 400 - 100)
    low, high = float(image.min()), float(image.max())
    expected = 2.5 if bounds == (None, None) else 1 / (high - low)
    assert victim.intensity_scale(image) == pytest.approx(expected, rel=1e-5)
    frozen = FrozenPreprocessing(victim.preprocessing, image[0], "image")
    torch.testing.assert_close(frozen(image.as_tensor()), array(image[0]).as_tensor()[None])
    moved = frozen(image.as_tensor() + 10)  # by its decision on the clean image
    torch.testing.assert_close(moved, array(image[0]).as_tensor()[None] + 10 * expected)
    if bounds != (None, None):
        with pytest.raises(ValueError, match="ScaleIntensity takes its scale from the image"):
            victim.intensity_scale()


@pytest.mark.parametrize("array", [NormalizeIntensity(), ScaleIntensity(0.0, 1.0)], ids=["normalize", "scale"])
def test_without_an_image_what_takes_its_scale_from_it_is_named(array: Callable) -> None:
    with pytest.raises(ValueError, match=f"{type(array).__name__} takes its scale from the image"):
        SegmentationVictim(nn.Identity(), preprocessing=Compose([array])).intensity_scale()
