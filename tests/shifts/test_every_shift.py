"""What holds of every shift, whatever it changes."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_smia.shifts import MODALITIES, HUCalibration, HUOffset, MetalInsert, RigidMotion, Shift, ShiftChain

KINDS = dict.fromkeys(kind for kinds in MODALITIES.values() for kind in kinds)
EVERY = [(kind, dims) for kind in [*KINDS, HUOffset] for dims in (2, 3) if dims in kind.dimensions]
IDS = [f"{kind.__name__}-{dims}d" for kind, dims in EVERY]
RISING = {  # what a level does is a distance, but for places and directions, which only say where
    "MetalInsert": [True, False, False],
    "MotionBlur": [True, False],
}


def phantom(
    dims: int, *, batch: int = 1, channels: int = 3, side: int = 16, dtype: torch.dtype = torch.float64
) -> Tensor:
    """A soft off-center blob with texture on a background, from about -900 to 100."""
    axes = [torch.linspace(-1, 1, side - 2 * n, dtype=dtype) for n in range(dims)]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    distance = (places - torch.tensor([0.1, -0.2, 0.1][:dims], dtype=dtype).view(-1, *[1] * dims)).square().sum(0)
    texture = (9 * places).sin().prod(0)
    image = -900 + 950 * torch.sigmoid(12 * (0.5 - distance)) + 40 * texture
    shades = torch.linspace(1, 0.8, batch * channels, dtype=dtype).view(batch, channels, *[1] * dims)
    return image * shades


def meta(image: Tensor, spacing: float = 6.0) -> MetaTensor:
    return MetaTensor(image, affine=torch.diag(torch.tensor([-spacing, spacing, spacing * 1.5, 1.0])))


def channels(kind: type[Shift]) -> int:
    return 3 if kind.dimensions == (2,) else 1


def inner(shift: Shift, dims: int, seed: int = 0) -> Tensor:
    """Values well inside of the box."""
    low, high = shift.box(dims)
    share = torch.rand(len(low), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.6 + 0.2
    return low + (high - low) * share


@pytest.mark.parametrize(("kind", "dims"), EVERY, ids=IDS)
def test_nothing_happens_at_the_neutral_values(kind: type[Shift], dims: int) -> None:
    image = meta(phantom(dims, channels=channels(kind)))
    same = kind()(image, kind().neutral(dims))
    assert isinstance(same, MetaTensor)
    torch.testing.assert_close(same.as_tensor(), image.as_tensor(), atol=1e-6, rtol=0)
    assert torch.equal(same.affine, image.affine)


@pytest.mark.parametrize(("kind", "dims"), EVERY, ids=IDS)
def test_the_neutral_values_lie_inside_the_box_and_the_box_grows(kind: type[Shift], dims: int) -> None:
    boxes = [kind(severity=level).box(dims) for level in range(1, 6)]
    neutral = kind().neutral(dims)
    for (low, high), (lower, higher) in pairwise(boxes):
        assert bool((lower <= low).all())
        assert bool((low <= neutral).all())
        assert bool((neutral <= high).all())
        assert bool((high <= higher).all())
        assert bool((lower < low).any() or (high < higher).any())
    drawn = kind().draw(200, dims, torch.Generator().manual_seed(0))
    low, high = kind().box(dims)
    assert bool(((drawn >= low) & (drawn <= high)).all())
    torch.testing.assert_close(kind().from_unit(kind().to_unit(drawn, dims), dims), drawn)


@pytest.mark.parametrize(("kind", "dims"), EVERY, ids=IDS)
def test_gradients_are_those_of_finite_differences(kind: type[Shift], dims: int) -> None:
    if not kind.differentiable:
        pytest.skip("has no gradient in its parameter, and says so")
    image = phantom(dims, channels=channels(kind), side=10)
    shift = kind(severity=2, span=(-1200.0, 300.0))
    values = inner(shift, dims)[None]
    weight = torch.randn(image.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def of(values: Tensor, image: Tensor) -> Tensor:
        return (shift(image, values, spacing=(7.0,) * dims) * weight).mean()

    arguments = (values.clone().requires_grad_(), image.clone().requires_grad_())
    assert torch.autograd.gradcheck(of, arguments, eps=1e-6, atol=1e-5, rtol=1e-3, fast_mode=True)


@pytest.mark.parametrize(("kind", "dims"), EVERY, ids=IDS)
def test_what_has_no_gradient_says_so(kind: type[Shift], dims: int) -> None:
    image = phantom(dims, channels=channels(kind))
    values = inner(kind(), dims)[None].requires_grad_()
    shifted = kind()(image, values, spacing=(6.0,) * dims)
    assert shifted.requires_grad == kind.differentiable


@pytest.mark.parametrize(("kind", "dims"), EVERY, ids=IDS)
def test_a_batch_is_its_samples_one_by_one_and_the_input_is_left_alone(kind: type[Shift], dims: int) -> None:
    image = phantom(dims, batch=2, channels=channels(kind))
    before = image.clone()
    values = torch.stack([inner(kind(), dims, seed) for seed in (1, 2)])
    together = kind()(image, values, spacing=(6.0,) * dims)
    for sample in range(2):
        alone = kind()(image[sample : sample + 1], values[sample], spacing=(6.0,) * dims)
        torch.testing.assert_close(together[sample : sample + 1], alone, atol=1e-7, rtol=1e-9)
    assert torch.equal(image, before)


@pytest.mark.parametrize(("kind", "dims"), EVERY, ids=IDS)
def test_severities_rise(kind: type[Shift], dims: int) -> None:
    image = phantom(dims, channels=channels(kind), side=24)
    shift = kind(span=(-1000.0, 200.0))
    change = []
    for level in range(1, 6):
        values = shift.at_severity(level, dims)
        moves = torch.tensor(RISING.get(kind.__name__, [True] * len(values)))
        values = torch.where(moves, values, shift.neutral(dims))
        size = 1.6 if kind is MetalInsert else 9.0
        shifted = shift(image, values, spacing=(size,) * dims)
        change.append(float((shifted - image).square().mean().sqrt()))
    assert change[0] > 1e-3
    assert change == sorted(change), change


@pytest.mark.parametrize(("kind", "dims"), EVERY, ids=IDS)
def test_values_that_do_not_fit_are_named(kind: type[Shift], dims: int) -> None:
    image = phantom(dims, channels=channels(kind))
    neutral = kind().neutral(dims).tolist()
    for values in ([*neutral, 1.0], [float("nan"), *neutral[1:]]):
        with pytest.raises(ValueError, match=r"^values must"):
            kind()(image, values, spacing=(1.0,) * dims)
    other = phantom(2 if dims == 3 else 3, channels=channels(kind))
    if other.ndim - 2 not in kind.dimensions:
        with pytest.raises(ValueError, match=r"^image must be a floating-point batch"):
            kind()(other, neutral, spacing=(1.0,) * (other.ndim - 2))
    if kind.needs_spacing:
        with pytest.raises(ValueError, match=r"^image must be a MetaTensor"):
            kind()(image, neutral)
    assert len(kind().describe(neutral, dims)) > 5
    assert kind.source


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"severity": 0}, "severity must"),
        ({"severity": 2.5}, "severity must"),
        ({"seed": -1}, "seed must"),
        ({"seed": True}, "seed must"),
        ({"span": (1.0, 0.0)}, "span must"),
        ({"lengths": "cm"}, "lengths must"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        RigidMotion(**arguments)  # type: ignore[arg-type]


def test_a_chain_is_its_shifts_one_after_the_other() -> None:
    image = phantom(2)
    first, second = RigidMotion(severity=2), HUCalibration()
    chain = ShiftChain(shifts=(first, second))
    one, two = inner(first, 2), inner(second, 2)
    expected = second(first(image, one, spacing=(2, 2)), two)
    torch.testing.assert_close(chain(image, torch.cat([one, two]), spacing=(2, 2)), expected)
    assert (chain.geometric, chain.needs_spacing, chain.differentiable) == (True, True, True)
    assert bool((chain.box(2)[1][:3] == first.box(2)[1]).all())  # each has its own box
    with pytest.raises(ValueError, match="at least one shift"):
        ShiftChain(shifts=())
    with pytest.raises(ValueError, match="one unit of length"):
        ShiftChain(shifts=(first, dataclasses.replace(first, lengths="%")))
