"""Transforms that lose the affine, or move voxels without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from chains import AFFINE, CHAINS, PIXDIM, apply, body
from helpers import network
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    CropForeground,
    EnsureType,
    EnsureTyped,
    Flip,
    GaussianSmooth,
    GridDistortion,
    Lambda,
    Lambdad,
    MapTransform,
    OneOf,
    Orientation,
    Resize,
    Rotate90,
    ScaleIntensity,
    ScaleIntensityd,
    ScaleIntensityRange,
    Spacing,
    Spacingd,
    SqueezeDim,
    ToTensor,
    Transform,
    Transpose,
    Transposed,
    Zoom,
)
from torch import Tensor, nn

from monai_smia.degradations import Median, Smooth
from monai_smia.transforms import ApplyDegradation
from monai_smia.victims import SegmentationVictim
from monai_smia.victims.preprocessing import FrozenPreprocessing

CUBE = torch.diag(torch.tensor([1.5, 1.5, 1.5, 1.0], dtype=torch.float64))
TURNED = torch.tensor([[0, 0, -0.8, 3], [-1.2, 0, 0, 40.4], [0, 2.5, 0, -7], [0, 0, 0, 1]], dtype=torch.float64)


def as_batch(image: MetaTensor) -> MetaTensor:
    return MetaTensor(image.as_tensor()[None], meta=image.meta)


class Doubled(Transform):
    """A bundle's own transform."""

    def __call__(self, image: Tensor) -> Tensor:
        return image * 2


class Plain(MapTransform):
    """A dictionary transform that hands on a plain tensor."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "image": data["image"].as_tensor() * 2}


def plain(image: Tensor) -> Tensor:
    return torch.as_tensor(image).clone().as_subclass(Tensor)


DROPPED: dict[str, Callable[[], Compose]] = {
    "last": lambda: Compose([EnsureType(track_meta=False)]),
    "first": lambda: Compose([EnsureType(track_meta=False), ScaleIntensityRange(-1000, 400, 0, 1)]),
    "twice": lambda: Compose([EnsureType(track_meta=False), EnsureType(), ToTensor(track_meta=False)]),
    "dictionary": lambda: Compose([EnsureTyped("image", track_meta=False), ScaleIntensityd("image")]),
    "own": lambda: Compose([Plain("image"), EnsureTyped("image")]),
    "function": lambda: Compose([lambda image: image.as_tensor() + 1]),
    "lazy": lambda: Compose([EnsureType(track_meta=False)], lazy=True),
}


@pytest.mark.parametrize("affine", [CUBE, TURNED, torch.eye(4)], ids=["cube", "turned", "identity"])
@pytest.mark.parametrize("name", DROPPED)
def test_a_step_that_drops_the_metadata(name: str, affine: Tensor) -> None:
    """Decisions are those of the network on the deployed input, to the last bit."""
    image = body((12, 12, 12), affine)
    net = network("segmentation", 3, channels=1, classes=2).eval()
    victim = SegmentationVictim(net, preprocessing=DROPPED[name]())
    with torch.no_grad():
        expected = net(torch.as_tensor(apply(DROPPED[name](), image)).as_subclass(Tensor)[None])
    assert torch.equal(victim.infer(as_batch(image)), expected)
    label = (image.as_tensor()[None] > -500).long()
    bound, target = victim.bind(as_batch(image), label)
    assert torch.equal(target, label)
    assert torch.equal(bound.predict(image.as_tensor()[None]).detach(), expected)


@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_dropped_between_spatial_steps(position: int) -> None:
    """What comes after runs as deployed, on voxels of 1 mm; where they lie is known nevertheless."""
    steps: list[Callable] = [Orientation("RAS", labels=None), Resize((10, 18, 14)), Flip(0)]
    whole = FrozenPreprocessing(Compose(steps), body())
    steps.insert(position, EnsureType(track_meta=False))
    if position == 0:  # then nothing is left to orient by
        steps.pop(1)
        whole = FrozenPreprocessing(Compose(steps[1:]), body())
    dropped = FrozenPreprocessing(Compose(steps), body())
    assert torch.equal(dropped(body().as_tensor()), apply(Compose(steps), body()).as_subclass(Tensor))
    torch.testing.assert_close(dropped.affine.double(), whole.affine.double(), rtol=0, atol=1e-6)
    label = (body().as_tensor() > -500).long()
    assert torch.equal(dropped.label_to_network(label), whole.label_to_network(label))


MOVERS: dict[str, Callable] = {
    "Transpose": Transpose((0, 2, 1, 3)),
    "Transposed": Transposed("image", (0, 3, 1, 2)),
    "Lambda": Lambda(lambda image: image.flip(1)),
    "Lambdad": Lambdad("image", lambda image: image.flip((2, 3))),
    "function": lambda image: image.movedim(1, 3),
    "roll": Lambda(lambda image: image.roll(3, 2)),
    "plain": Lambda(lambda image: image.as_tensor().flip(1)),
    "crop": Lambda(lambda image: image[:, 2:]),
    "subsample": Lambda(lambda image: image[..., ::2]),
    "distortion": GridDistortion(2, [(0.5, 1.8, 0.7)] * 3),
    "late": lambda image: torch.rot90(image, 1, (1, 2)),
    "by one voxel": Lambda(lambda image: image.roll(1, 3)),
}


@pytest.mark.parametrize("shape", [(12, 12, 12), (20, 14, 18)], ids=["cube", "box"])
@pytest.mark.parametrize(
    "before", [[], [ScaleIntensityRange(-1000, 400, 0, 1, clip=True)]], ids=["first", "after a window"]
)
@pytest.mark.parametrize("name", MOVERS)
def test_what_moves_voxels_without_its_affine_is_refused_by_name(
    name: str, before: list[Callable], shape: tuple[int, ...]
) -> None:
    """Labels would be mapped by an affine that is not true."""
    transform = MOVERS[name]
    if isinstance(transform, MapTransform) and before:
        before = [Lambdad("image", lambda image: image / 1000)]
    victim = SegmentationVictim(nn.Conv3d(1, 2, 1), preprocessing=Compose([*before, transform]))
    image = body(shape)
    with pytest.raises(ValueError, match=rf"{type(transform).__name__} moves voxels and its affine does not say so"):
        victim.infer(as_batch(image))
    with pytest.raises(ValueError, match="moves voxels"):
        victim.bind(as_batch(image), torch.ones(1, 1, *shape))


class Cropped(Transform):
    """A transform of one's own that keeps the affine right."""

    def __call__(self, image: MetaTensor) -> MetaTensor:
        affine = image.affine.clone()
        affine[:3, 3] += 3 * affine[:3, 0]
        return MetaTensor(image.as_tensor()[:, 3:], affine=affine)


@pytest.mark.parametrize(
    "transform",
    [
        Doubled(),
        Cropped(),
        Lambda(lambda i: i),
        Lambda(lambda i: (i - i.mean()) / i.std()),
        Lambda(lambda i: Median(3)(i[None])[0]),
        Lambda(lambda i: Smooth(1.5)(i[None])[0]),
        Lambda(lambda i: i.clamp(-100, 100)),
        Lambda(torch.sigmoid),
        ApplyDegradation(Smooth(1.0)),
    ],
    ids=["own", "own crop", "nothing", "statistics", "median", "smooth", "clip", "sigmoid", "degradation"],
)
def test_what_leaves_them_or_says_so_is_taken(transform: Callable) -> None:
    image = body()
    frozen = FrozenPreprocessing(Compose([transform]), image)
    expected = apply(Compose([transform]), image)
    assert torch.equal(frozen(image.as_tensor()), expected.as_tensor())
    torch.testing.assert_close(frozen.affine, expected.affine)


def test_an_axis_that_is_lost_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"SqueezeDim must keep the axes of an image \(1, 20, 14, 18\).* got \(20, 14, 18\)"
    ):
        FrozenPreprocessing(Compose([SqueezeDim(None)]), body())


@pytest.mark.parametrize(
    "transform",
    [
        Resize((26, 9, 30)),
        Resize((26, 9, 30), mode="trilinear"),
        Zoom(1.3, keep_size=False),
        Zoom(1.3, mode="trilinear", keep_size=False),
        Rotate90(1, (0, 2)),
        Flip(1),
        Spacing(PIXDIM),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_monais_spatial_transforms_do_as_their_affine_says(transform: Callable) -> None:
    """Of an image that is linear in millimeters: none of them is off by half a voxel."""

    def ramp(affine: Tensor, shape: Sequence[int]) -> Tensor:
        grid = torch.stack(torch.meshgrid(*[torch.arange(n) for n in shape], indexing="ij"), -1).double()
        millimeters = grid @ affine[:3, :3].T + affine[:3, 3]
        return (millimeters @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))[None]

    frozen = FrozenPreprocessing(Compose([transform]), MetaTensor(ramp(AFFINE, (20, 14, 18)), affine=AFFINE))
    got = frozen(ramp(AFFINE, (20, 14, 18))).double()
    inner = (slice(None), slice(4, -4), slice(3, -3), slice(4, -4))
    off = (got - ramp(frozen.affine.double(), frozen.shape))[inner]
    assert abs(float(off.mean())) < 0.05  # half a voxel makes .75 to 2.5


class TestSpacingThatIsNotKnown:
    """`image.as_tensor()` was taken as 1 mm without a word."""

    @pytest.mark.parametrize(
        "transform",
        [
            Spacing(PIXDIM),
            Orientation("RAS", labels=None),
            Spacingd("image", PIXDIM),
            Spacingd(["image", "label"], PIXDIM),
        ],
    )
    def test_is_refused(self, transform: Callable) -> None:
        victim = SegmentationVictim(nn.Conv3d(1, 2, 1), preprocessing=Compose([transform]))
        image, label = body().as_tensor()[None], torch.ones(1, 1, *body().shape[1:])
        message = f"must be a MetaTensor with its affine: the preprocessing's {type(transform).__name__}"
        for use in (victim.infer, victim.predict, victim.intensity_scale, lambda i: victim.bind(i, label)):
            with pytest.raises(ValueError, match=message):
                use(image)
        assert victim.infer(MetaTensor(image, affine=torch.eye(4))).shape[2:] == image.shape[2:]

    @pytest.mark.parametrize("transform", [Resize((8, 8, 8)), ScaleIntensity(), Spacingd("label", PIXDIM)])
    def test_is_not_asked_for_where_nothing_needs_it(self, transform: Callable) -> None:
        victim = SegmentationVictim(nn.Conv3d(1, 2, 1), preprocessing=Compose([transform]))
        assert victim.infer(body().as_tensor()[None]).shape[2:] == body().shape[1:]


@pytest.mark.parametrize("lazy", [False, True, None])
@pytest.mark.parametrize("name", [*CHAINS, *(f"dropped {name}" for name in DROPPED), "overrides"])
def test_the_frozen_chain_gives_the_networks_input_as_deployed(name: str, lazy: bool | None) -> None:
    """Lazy resampling and its overrides keep their meaning."""
    if name == "overrides":
        compose = Compose(
            [Spacing(PIXDIM), Resize((12, 16, 20))], lazy=lazy, overrides={"mode": 1, "padding_mode": "zeros"}
        )
    else:
        made = DROPPED[name[8:]]() if name.startswith("dropped") else CHAINS[name]()
        compose = Compose(made.transforms, lazy=lazy)
    image = body()
    frozen = FrozenPreprocessing(compose, image)
    expected = torch.as_tensor(apply(compose, image)).as_subclass(Tensor)
    got = frozen(image.as_tensor())
    assert torch.equal(got, expected)


def test_lazy_is_not_the_same_as_not_lazy() -> None:
    """The two chains of the entry differ, so that the test above can tell them apart."""
    steps = [Spacing(PIXDIM), Resize((12, 16, 20))]
    first, second = (
        FrozenPreprocessing(Compose(steps, lazy=lazy), body())(body().as_tensor()) for lazy in (True, False)
    )
    assert float((first - second).abs().max()) > 1


class Counting(Transform):
    calls = 0

    def __call__(self, image: Tensor) -> Tensor:
        self.calls += 1
        return image + self.calls * 10


@pytest.mark.parametrize(
    ("chain", "name"),
    [
        ([ScaleIntensity(), Lambda(lambda i: i + torch.rand(i.shape))], "Lambda"),
        ([Counting(), ScaleIntensityRange(0, 1, 0, 1)], "Counting"),
        ([OneOf([Flip(0), Flip(1)])], "OneOf"),
    ],
)
def test_what_does_not_repeat_itself_is_refused_by_name(chain: list[Callable], name: str) -> None:
    with pytest.raises(ValueError, match=rf"preprocessing: {name} does not give the same|got the random {name}"):
        FrozenPreprocessing(Compose(chain), body())


def test_smoothing_and_cropping_still_go_together() -> None:
    chain = Compose([GaussianSmooth(1.0), CropForeground(select_fn=lambda i: i > 0)])
    frozen = FrozenPreprocessing(chain, body())
    assert torch.equal(frozen(body().as_tensor()), apply(chain, body()).as_tensor())
    assert not torch.equal(frozen.affine, AFFINE)
