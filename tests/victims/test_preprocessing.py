"""Frozen preprocessing: the plain chain on the clean image, its gradient, and a frame that an attack cannot move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from helpers import network
from monai.data import MetaTensor, list_data_collate
from monai.transforms import (
    CastToTyped,
    Compose,
    CropForeground,
    CropForegroundd,
    DivisiblePad,
    DivisiblePadd,
    EnsureTyped,
    GaussianSmooth,
    NormalizeIntensity,
    NormalizeIntensityd,
    Orientation,
    Orientationd,
    RandFlip,
    RandGaussianNoised,
    Resize,
    ScaleIntensity,
    ScaleIntensityd,
    ScaleIntensityRange,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentiles,
    ScaleIntensityRangePercentilesd,
    Spacing,
    Spacingd,
    SpatialPad,
    SpatialPadd,
)
from torch import Tensor

from monai_smia.attacks import BIM, PGD
from monai_smia.victims import SegmentationVictim
from monai_smia.victims.preprocessing import BatchPreprocessing, FrozenPreprocessing

AFFINE = torch.tensor([[-1.5, 0, 0, 40], [0, 0, 2.5, -30], [0, 1.0, 0, 7], [0, 0, 0, 1]], dtype=torch.float64)
PIXDIM = (2.0, 1.5, 2.0)


def positive(image: Tensor) -> Tensor:
    return image > 0.1


def array_chain(clip: bool = True) -> list[Callable]:
    return [
        Orientation("RAS", labels=None),
        Spacing(PIXDIM, mode="bilinear"),
        ScaleIntensityRange(-1000, 400, 0, 1, clip=clip),
        CropForeground(select_fn=positive, margin=1),
        DivisiblePad(4),
    ]


def dictionary_chain() -> list[Callable]:
    keys = ["image", "label"]  # as training configurations have it; the label is not there
    return [
        EnsureTyped(keys),
        Orientationd(keys, "RAS", labels=None),
        Spacingd(keys, PIXDIM, mode=("bilinear", "nearest")),
        ScaleIntensityRanged("image", -1000, 400, 0, 1, clip=True),
        CropForegroundd(keys, source_key="image", select_fn=positive, margin=1, allow_smaller=True),
        SpatialPadd(keys, (24, 24, 24)),
        DivisiblePadd(keys, 4),
        CastToTyped("image", torch.float32),
    ]


CHAINS: dict[str, Callable[[], Compose]] = {
    "array": lambda: Compose(array_chain()),
    "array lazy": lambda: Compose(array_chain(), lazy=True),
    "dictionary": lambda: Compose(dictionary_chain()),
    "dictionary lazy": lambda: Compose(dictionary_chain(), lazy=True),
    "nested": lambda: Compose([Compose(array_chain()[:2]), Compose(array_chain()[2:])]),
    "resize and smooth": lambda: Compose(
        [Orientation("LPS", labels=None), Resize((12, 16, 20), mode="trilinear"), GaussianSmooth(1.0), SpatialPad(24)]
    ),
}
every_chain = pytest.mark.parametrize("name", CHAINS)


def body(shape: Sequence[int] = (20, 14, 18), affine: Tensor = AFFINE, channels: int = 1, seed: int = 0) -> MetaTensor:
    """A smooth ellipsoid in HU in air, off the middle."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    radius = sum(((a - 0.1 * i) / 0.7) ** 2 for i, a in enumerate(axes))
    waves = sum(torch.sin(3 * a + i) for i, a in enumerate(axes)) * 60
    image = torch.where(radius < 1, waves + 40 * radius, -1000.0)  # type: ignore[arg-type]
    noise = 10 * torch.rand(channels, *shape, generator=generator)
    return MetaTensor(image.expand(channels, *shape) + noise, affine=affine)


def apply(compose: Any, image: MetaTensor) -> MetaTensor:
    """The plain chain, as deployed."""
    image = MetaTensor(image.as_tensor().clone(), meta=image.meta)
    dictionary = any(hasattr(t, "keys") for t in compose.flatten().transforms)
    if not dictionary:
        return compose(image)
    label = MetaTensor(torch.zeros_like(image.as_tensor()), meta=image.meta)
    return compose({"image": image, "label": label})["image"]


@every_chain
def test_clean_output_is_that_of_the_plain_chain(name: str) -> None:
    image = body()
    before = image.as_tensor().clone()
    frozen = FrozenPreprocessing(CHAINS[name](), image)
    expected = apply(CHAINS[name](), image)
    torch.testing.assert_close(frozen(image.as_tensor()), expected.as_tensor(), rtol=0, atol=1e-5)
    torch.testing.assert_close(frozen.affine, expected.affine)
    assert type(frozen(image)) is Tensor
    assert torch.equal(image.as_tensor(), before)
    assert not image.applied_operations


@pytest.mark.parametrize("name", ["array", "array lazy", "nested", "resize and smooth"])
def test_gradient_is_that_of_the_plain_chain(name: str) -> None:
    image = body()
    weight = torch.randn(apply(CHAINS[name](), image).shape, generator=torch.Generator().manual_seed(1))
    x, y = (image.as_tensor().clone().requires_grad_(True) for _ in range(2))
    (got,) = torch.autograd.grad((FrozenPreprocessing(CHAINS[name](), image)(x) * weight).sum(), x)
    plain = CHAINS[name]()(MetaTensor(y * 1, meta=image.meta))
    (expected,) = torch.autograd.grad((plain.as_tensor() * weight).sum(), y)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
    assert float((got != 0).float().mean()) > 0.1


def test_gradient_predicts_the_change() -> None:
    """The chain is linear without clipping: finite differences are exact, however far they reach."""
    image = body().as_tensor()
    frozen = FrozenPreprocessing(Compose(array_chain(clip=False)), body())
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(frozen(image).shape, generator=generator)
    x = image.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad((frozen(x) * weight).sum(), x)
    for _ in range(3):
        direction = torch.randn(image.shape, generator=generator) * 50
        change = ((frozen(image + direction) - frozen(image)).double() * weight).sum()
        torch.testing.assert_close((gradient.double() * direction).sum(), change, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["array", "array lazy", "dictionary", "dictionary lazy"])
def test_the_crop_window_does_not_move(name: str) -> None:
    image = body()
    frozen, moved = FrozenPreprocessing(CHAINS[name](), image), image.as_tensor().clone()
    moved[:, 0, 0, 0] = moved[:, -1, -1, -1] = 300.0  # foreground in the far corners
    wide = apply(CHAINS[name](), MetaTensor(moved, meta=image.meta))
    assert wide.shape != frozen(moved).shape or not torch.equal(wide.affine, frozen.affine)
    assert frozen(moved).shape == frozen(image.as_tensor()).shape


NORMALISERS: dict[str, tuple[Callable, Callable]] = {
    "normalize": (NormalizeIntensity(), NormalizeIntensityd("image")),
    "normalize nonzero": (NormalizeIntensity(nonzero=True), NormalizeIntensityd("image", nonzero=True)),
    "normalize channels": (NormalizeIntensity(channel_wise=True), NormalizeIntensityd("image", channel_wise=True)),
    "normalize nonzero channels": (
        NormalizeIntensity(nonzero=True, channel_wise=True),
        NormalizeIntensityd("image", nonzero=True, channel_wise=True),
    ),
    "normalize given": (
        NormalizeIntensity(subtrahend=3.0, divisor=7.0),
        NormalizeIntensityd("image", subtrahend=3.0, divisor=7.0),
    ),
    "normalize half given": (NormalizeIntensity(divisor=7.0), NormalizeIntensityd("image", divisor=7.0)),
    "scale": (ScaleIntensity(), ScaleIntensityd("image")),
    "scale to": (ScaleIntensity(-1.0, 3.0), ScaleIntensityd("image", -1.0, 3.0)),
    "scale factor": (
        ScaleIntensity(minv=None, maxv=None, factor=0.5),
        ScaleIntensityd("image", minv=None, maxv=None, factor=0.5),
    ),
    "percentiles": (
        ScaleIntensityRangePercentiles(5, 95, 0, 1, clip=True),
        ScaleIntensityRangePercentilesd("image", 5, 95, 0, 1, clip=True),
    ),
    "percentiles relative": (
        ScaleIntensityRangePercentiles(5, 95, 0, 1, relative=True),
        ScaleIntensityRangePercentilesd("image", 5, 95, 0, 1, relative=True),
    ),
    "percentiles centred": (
        ScaleIntensityRangePercentiles(5, 95, None, None),
        ScaleIntensityRangePercentilesd("image", 5, 95, None, None),
    ),
}


def with_background() -> Tensor:
    """Two channels of different contrast, a part of them exactly zero."""
    image = body(channels=2).as_tensor().clamp_min(0).clone()
    image[1] *= 3
    return image


@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("name", NORMALISERS)
class TestNormalisers:
    def test_clean_output(self, name: str, dictionary: bool) -> None:
        image, compose = with_background(), Compose([NORMALISERS[name][dictionary]])
        expected = apply(compose, MetaTensor(image))
        torch.testing.assert_close(FrozenPreprocessing(compose, image)(image), expected.as_tensor())

    def test_statistics_are_those_of_the_clean_image(self, name: str, dictionary: bool) -> None:
        """What happens to one voxel changes no other."""
        image, compose = with_background(), Compose([NORMALISERS[name][dictionary]])
        frozen, moved = FrozenPreprocessing(compose, image), image.clone()
        before, place = frozen(image), (0, 10, 7, 9)
        assert moved[place] > 0
        moved[place] = 900.0
        changed = frozen(moved) != before
        changed[place] = False
        assert not changed.any()
        if not name.endswith((" given", "factor")) or "half" in name:
            plain = apply(compose, MetaTensor(moved)).as_tensor()
            assert not torch.equal(plain, frozen(moved))

    def test_gradient_is_the_scale(self, name: str, dictionary: bool) -> None:
        x = with_background().requires_grad_(True)
        frozen = FrozenPreprocessing(Compose([NORMALISERS[name][dictionary]]), with_background())
        (gradient,) = torch.autograd.grad(frozen(x)[:, 10, 7, 9].sum(), x)
        step = torch.zeros_like(x)
        step[:, 10, 7, 9] = 1.0
        slope = (frozen(x + step) - frozen(x - step)).detach()[:, 10, 7, 9] / 2
        torch.testing.assert_close(gradient[:, 10, 7, 9], slope, rtol=1e-3, atol=1e-6)
        if "channels" in name:
            with pytest.raises(ValueError, match="NormalizeIntensity scales channels differently"):
                _ = frozen.intensity_scale
        else:
            inside = slope[:1] if name == "percentiles" else slope  # the bright channel is clipped there
            torch.testing.assert_close(inside, torch.full_like(inside, frozen.intensity_scale), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    "transform", [ScaleIntensity(channel_wise=True), ScaleIntensityRangePercentiles(5, 95, 0, 1, channel_wise=True)]
)
def test_what_cannot_be_frozen_is_named(transform: Callable) -> None:
    with pytest.raises(ValueError, match=f"{type(transform).__name__} with channel_wise=True cannot be frozen"):
        FrozenPreprocessing(Compose([transform]), with_background())


class TestIntensityScale:
    @pytest.mark.parametrize("name", ["array", "array lazy", "dictionary", "nested"])
    def test_hounsfield_to_network(self, name: str) -> None:
        assert FrozenPreprocessing(CHAINS[name](), body()).intensity_scale == pytest.approx(1 / 1400)

    def test_of_a_chain_is_the_product(self) -> None:
        chain = Compose([ScaleIntensityRange(-1000, 400, 0, 2), NormalizeIntensity(subtrahend=0.5, divisor=0.25)])
        assert FrozenPreprocessing(chain, body()).intensity_scale == pytest.approx(2 / 1400 / 0.25)

    def test_of_a_victim(self) -> None:
        """A perturbation of 14 HU inside the window is one of 0.01 for the network."""
        window = Compose([ScaleIntensityRange(-1000, 400, 0, 1, clip=True)])
        victim = SegmentationVictim(torch.nn.Identity(), preprocessing=window)
        scale = victim.intensity_scale()
        image = torch.full((1, 1, 4, 4, 4), -300.0)
        torch.testing.assert_close(
            victim.predict(image + 14) - victim.predict(image), torch.full_like(image, 14 * scale)
        )


def network_label(name: str, image: MetaTensor, label: Tensor) -> Tensor:
    """The label through the same spatial transforms, nearest neighbour, with the crop of the image."""
    keys = ["image", "label"]
    spatial = {
        "array": [
            Orientationd(keys, "RAS", labels=None),
            Spacingd(keys, PIXDIM, mode=("bilinear", "nearest")),
            ScaleIntensityRanged("image", -1000, 400, 0, 1, clip=True),
            CropForegroundd(keys, source_key="image", select_fn=positive, margin=1),
            DivisiblePadd(keys, 4),
        ],
        "dictionary": dictionary_chain(),
    }[name.split()[0]]
    data = {
        "image": MetaTensor(image.as_tensor().clone(), meta=image.meta),
        "label": MetaTensor(label, meta=image.meta),
    }
    return Compose(spatial)(data)["label"].as_tensor()


@pytest.mark.parametrize("name", ["array", "array lazy", "dictionary", "dictionary lazy"])
class TestLabel:
    def test_goes_the_way_of_the_image(self, name: str) -> None:
        image = body()
        label = (image.as_tensor() > -500).long() + (image.as_tensor() > 20).long()
        got = FrozenPreprocessing(CHAINS[name](), image).label_to_network(label)
        expected = network_label(name, image, label)
        assert got.dtype == label.dtype
        assert set(got.unique().tolist()) == {0, 1, 2}
        assert float((got == expected).float().mean()) >= 0.99

    def test_back_brings_it_to_the_same_place(self, name: str) -> None:
        """A prediction that is linear in millimetres keeps its values; zero where the network saw nothing."""
        image = body()
        frozen = FrozenPreprocessing(CHAINS[name](), image)

        def ramp(affine: Tensor, shape: Sequence[int]) -> Tensor:
            grid = torch.stack(torch.meshgrid(*[torch.arange(n) for n in shape], indexing="ij"), -1).double()
            millimetres = grid @ affine[:3, :3].T + affine[:3, 3]
            return (millimetres @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))[None].float() + 500

        back = frozen.back(ramp(frozen.affine, frozen.shape))
        expected = ramp(image.affine, image.shape[1:])
        assert back.shape == image.shape
        torch.testing.assert_close(back[:, 6:14, 5:9, 6:12], expected[:, 6:14, 5:9, 6:12], rtol=0, atol=1e-2)
        if "array" in name:
            assert not back[:, 0, 0, 0].any()

    def test_back_inverts_it(self, name: str) -> None:
        image = body()
        frozen = FrozenPreprocessing(CHAINS[name](), image)
        label = (image.as_tensor() > -500).float()
        back = frozen.back(frozen.label_to_network(label))
        overlap = ((back > 0.5) & (label > 0.5)).sum() / ((back > 0.5) | (label > 0.5)).sum()
        assert float(overlap) > 0.8


@pytest.mark.parametrize("transform", [RandFlip(0.5), RandGaussianNoised("image", 0.5)])
def test_random_transforms_are_refused_by_name(transform: Callable) -> None:
    with pytest.raises(ValueError, match=f"must be deterministic, got the random {type(transform).__name__}"):
        FrozenPreprocessing(Compose([ScaleIntensityRange(-1000, 400, 0, 1), Compose([transform])]), body())


@pytest.mark.parametrize("position", [0, 1])
def test_a_transform_that_blocks_the_gradient_is_named(position: int) -> None:
    chain: list[Callable] = [ScaleIntensityRange(-1000, 400, 0, 1)]
    chain.insert(position, Spacing(PIXDIM, mode=3, padding_mode="nearest"))
    frozen = FrozenPreprocessing(Compose(chain), body())
    assert frozen(body()).isfinite().all()  # to predict it will do
    with pytest.raises(ValueError, match="must be differentiable: Spacing blocks the gradient"):
        frozen.check_differentiable()


def test_an_attack_through_a_transform_that_blocks_the_gradient_is_refused() -> None:
    victim = SegmentationVictim(torch.nn.Conv3d(1, 2, 1), preprocessing=Compose([Spacing(PIXDIM, mode=3)]))
    image = body().unsqueeze(0)
    with pytest.raises(ValueError, match="Spacing blocks the gradient"):
        BIM(eps=10.0, clip=None)(victim, image, torch.ones(image.shape))


@pytest.mark.parametrize(
    "transform", [ScaleIntensity(), NormalizeIntensity(), ScaleIntensityRangePercentiles(1, 99, 0, 1)]
)
def test_a_scale_taken_from_the_image_asks_for_the_image(transform: Callable) -> None:
    victim = SegmentationVictim(torch.nn.Conv2d(1, 2, 1), preprocessing=Compose([transform]))
    with pytest.raises(ValueError, match="image must be given"):
        victim.intensity_scale()
    assert victim.intensity_scale(torch.rand(1, 1, 8, 8)) > 0


def test_a_crop_that_follows_another_image_is_refused() -> None:
    """At the network's door there is no label to crop by."""
    chain = Compose([CropForegroundd(["image", "label"], source_key="label")])
    with pytest.raises(ValueError, match=r"CropForegroundd must crop by the image.*source_key='label'"):
        FrozenPreprocessing(chain, body())


def batch_of(images: Sequence[MetaTensor]) -> MetaTensor:
    return list_data_collate([{"image": image} for image in images])["image"]


OTHER = torch.diag(torch.tensor([1.5, 1.0, 2.5, 1.0], dtype=torch.float64))


class TestBatch:
    def test_every_sample_has_its_own_affine(self) -> None:
        """Same shapes on the network's grid from one array of voxels, once turned and flipped, once not."""
        chain = Compose([Orientation("RAS", labels=None), Spacing((2.0, 2.0, 2.0)), SpatialPad((24, 24, 24))])
        images = [body((16, 16, 16)), body((16, 16, 16), OTHER, seed=1)]
        batch = batch_of(images)
        got = BatchPreprocessing(chain, batch)(batch.as_tensor())
        for one, image in zip(got, images, strict=True):
            torch.testing.assert_close(one, apply(chain, image).as_tensor(), rtol=0, atol=1e-3)
        shared = BatchPreprocessing(chain, MetaTensor(batch.as_tensor(), affine=AFFINE))(batch.as_tensor())
        torch.testing.assert_close(shared[0], got[0])
        assert not torch.allclose(shared[1], got[1], atol=10)

    def test_subset(self) -> None:
        chain = Compose([ScaleIntensity()])
        image = torch.stack([body(seed=s).as_tensor() * (s + 1) for s in range(3)])
        whole = BatchPreprocessing(chain, image)
        keep = torch.tensor([True, False, True])
        torch.testing.assert_close(whole.subset(keep)(image[keep]), whole(image)[keep])

    def test_different_shapes_are_refused(self) -> None:
        batch = batch_of([body((16, 16, 16)), body((16, 16, 16), OTHER * 2)])
        with pytest.raises(ValueError, match="must give one shape per batch"):
            BatchPreprocessing(Compose([Spacing((2.0, 2.0, 2.0))]), batch)(batch)


def segmenter(name: str) -> SegmentationVictim:
    net = network("segmentation", 3, channels=1, classes=2).eval()
    return SegmentationVictim(net, preprocessing=CHAINS[name]())


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ["array", "dictionary lazy"])
def test_infer_answers_on_the_grid_of_the_image(name: str, context: Any) -> None:
    image, victim = body(), segmenter(name)
    with context():
        logits = victim.infer(MetaTensor(image.as_tensor()[None], meta=image.meta))
    assert logits.shape == (1, 2, *image.shape[1:])
    on_network = victim.network(apply(CHAINS[name](), image).as_tensor()[None]).detach()
    expected = FrozenPreprocessing(CHAINS[name](), image).back(on_network[0])
    torch.testing.assert_close(logits[0], expected, rtol=0, atol=1e-4)
    assert not logits.requires_grad


def test_infer_decides_anew() -> None:
    """Nothing of a clean image stays: the percentiles are those of the image that comes in."""
    chain = Compose([ScaleIntensityRangePercentiles(5, 95, 0, 1)])
    victim = SegmentationVictim(torch.nn.Identity(), preprocessing=chain)
    image = body().as_tensor()
    first, second = (victim.infer(x[None]) for x in (image, 2 * image))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["array", "array lazy", "dictionary", "dictionary lazy"])
def test_attack_in_hounsfield_on_the_grid_of_the_image(name: str) -> None:
    image, victim = body(), segmenter(name)
    batch = MetaTensor(image.as_tensor()[None], meta=image.meta)
    label = (victim.infer(batch).argmax(1, keepdim=True)).long()
    label[0, 0, 8:12, 5:9, 7:11] = 1
    result = PGD(eps=42.0, clip=(-1024.0, 3071.0), steps=5)(victim, batch, MetaTensor(label, meta=image.meta))
    assert isinstance(result.adversarial, MetaTensor)
    assert torch.equal(result.adversarial.affine, AFFINE)
    assert float(result.perturbation.abs().max()) == pytest.approx(42.0, rel=1e-4)
    assert bool((result.loss > result.loss_history[0]).all())
    bound, target = victim.bind(batch, label)
    after = bound.loss(bound.predict(result.adversarial.as_tensor()), target).detach()
    torch.testing.assert_close(result.loss, after)


def test_a_batch_of_cases_gives_what_each_gives() -> None:
    chain = Compose(
        [Orientation("RAS", labels=None), Spacing((2.0, 2.0, 2.0)), NormalizeIntensity(), SpatialPad((24, 24, 24))]
    )
    net = network("segmentation", 3, channels=1, classes=2).double().eval()

    class InDouble(torch.nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return net(image.double())

    victim = SegmentationVictim(InDouble(), preprocessing=chain)
    images = [body((16, 16, 16)), body((16, 16, 16), OTHER, seed=1)]
    label = torch.stack([(i.as_tensor() > -500).long() for i in images])
    attack = PGD(eps=42.0, norm="l2", clip=None, steps=4, step_size=20.0)
    together = attack(victim, batch_of(images), label)
    for i, image in enumerate(images):
        alone = attack(victim, MetaTensor(image.as_tensor()[None], meta=image.meta), label[i : i + 1])
        torch.testing.assert_close(
            together.perturbation.as_tensor()[i], alone.perturbation.as_tensor()[0], rtol=0, atol=1e-2
        )


def test_two_dimensions() -> None:
    chain = Compose([Spacing((2.0, 1.5), mode="bilinear"), ScaleIntensityRange(0, 255, 0, 1), DivisiblePad(8)])
    affine = torch.diag(torch.tensor([1.0, 3.0, 1.0, 1.0], dtype=torch.float64))
    image = MetaTensor(torch.rand(1, 21, 13, generator=torch.Generator().manual_seed(0)) * 255, affine=affine)
    frozen = FrozenPreprocessing(chain, image)
    torch.testing.assert_close(frozen(image.as_tensor()), apply(chain, image).as_tensor())
    assert frozen.intensity_scale == pytest.approx(1 / 255)
    label = (image.as_tensor() > 127).long()
    assert frozen.label_to_network(label).shape == frozen(image).shape
    assert frozen.back(frozen(image)).shape == image.shape


def test_float64_percentiles_are_those_of_numpy() -> None:
    image = with_background()
    frozen = FrozenPreprocessing(Compose([ScaleIntensityRangePercentiles(5, 95, 0, 1)]), image)
    low, high = np.percentile(image.numpy(), [5, 95])
    assert frozen.intensity_scale == pytest.approx(1 / (high - low), rel=1e-5)


def test_a_transform_that_works_in_place() -> None:
    """Neither the caller's voxels nor a leaf of the graph may be written to."""
    chain = Compose([lambda image: image.mul_(2.0)])
    image = body().as_tensor()
    x = image.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(FrozenPreprocessing(chain, image)(x).sum(), x)
    torch.testing.assert_close(gradient, torch.full_like(x, 2.0))
    assert torch.equal(x.detach(), image)
    assert torch.equal(image, body().as_tensor())
