"""Frozen preprocessing: the plain chain on the clean image, its gradient, and a frame that an attack cannot move."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from chains import AFFINE, CHAINS, OTHER, PIXDIM, apply, array_chain, batch_of, body, dictionary_chain, positive
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    CropForeground,
    CropForegroundd,
    DivisiblePad,
    DivisiblePadd,
    Orientation,
    Orientationd,
    RandFlip,
    RandGaussianNoised,
    Resize,
    ScaleIntensity,
    ScaleIntensityRange,
    ScaleIntensityRanged,
    Spacing,
    Spacingd,
    SpatialPad,
)
from torch import Tensor, nn

from monai_smia.victims import SegmentationVictim
from monai_smia.victims.batches import BatchPreprocessing
from monai_smia.victims.preprocessing import FrozenPreprocessing

every_chain = pytest.mark.parametrize("name", CHAINS)


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


def test_a_crop_that_follows_another_image_is_refused() -> None:
    """At the network's door there is no label to crop by."""
    chain = Compose([CropForegroundd(["image", "label"], source_key="label")])
    with pytest.raises(ValueError, match=r"CropForegroundd must crop by the image.*source_key='label'"):
        FrozenPreprocessing(chain, body())


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


def test_a_transform_that_works_in_place() -> None:
    """Neither the caller's voxels nor a leaf of the graph may be written to."""
    chain = Compose([lambda image: image.mul_(2.0)])
    image = body().as_tensor()
    x = image.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(FrozenPreprocessing(chain, image)(x).sum(), x)
    torch.testing.assert_close(gradient, torch.full_like(x, 2.0))
    assert torch.equal(x.detach(), image)
    assert torch.equal(image, body().as_tensor())


@pytest.mark.parametrize("margin", [0, 2])
def test_an_image_without_foreground_is_refused_by_what_crops_it(margin: int) -> None:
    """A black picture was "division by zero"."""
    chain = Compose([CropForeground(margin=margin, allow_smaller=True), Resize((8, 8))])
    victim = SegmentationVictim(nn.Conv2d(1, 2, 1), preprocessing=chain)
    with pytest.raises(ValueError, match="CropForeground finds no foreground: nothing would be left of the image"):
        victim.infer(MetaTensor(torch.zeros(1, 1, 12, 12)))
