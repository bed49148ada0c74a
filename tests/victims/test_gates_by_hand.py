"""What the gates let pass and what they name, and transforms frozen on an image, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import (
    CropForeground,
    EnsureType,
    EnsureTyped,
    NormalizeIntensity,
    ScaleIntensity,
    ScaleIntensityRange,
    ScaleIntensityRangePercentiles,
    ScaleIntensityRangePercentilesd,
    ToTensor,
)
from torch import Tensor

from monai_smia.victims import ClassificationVictim
from monai_smia.victims.batches import split_batch
from monai_smia.victims.freezing import StraightThroughScale, array_attribute, freeze_on
from monai_smia.victims.gate import (
    Passed,
    SeenShapes,
    check_image,
    check_label_map,
    check_prediction,
    check_same_grid,
    tensors_of,
)
from monai_smia.victims.logits import LogitsVictim
from monai_smia.victims.placement import follows, is_one_of
from monai_smia.victims.preprocessing import _alike, as_plain

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (3, "got int"),
        (torch.zeros(4, 4), r"got \(4, 4\)"),
        (torch.zeros(0, 1, 4), r"non-empty tensor .* got \(0, 1, 4\)"),
        (torch.tensor([[[0.0, NAN, 1.0]]]), "got 1 NaN or infinite voxels of 3"),
        (torch.tensor([[[0.0, INF, -INF]]]), "got 2 NaN or infinite voxels of 3"),
        (torch.tensor([[[0.0, -INF]]]), "got 1 NaN"),
        (torch.tensor([[[0.0, INF]]]), "got 1 NaN"),
        (MetaTensor(torch.tensor([[[0.0, INF]]])), "got 1 NaN"),
    ],
)
def test_images_that_are_none(image: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_image(image)


def test_images_of_any_kind_pass() -> None:
    for image in (torch.zeros(1, 1, 1), torch.zeros(2, 3, 4, dtype=torch.uint8), MetaTensor(torch.zeros(1, 1, 2))):
        check_image(image)


def test_a_label_map_lies_on_the_grid() -> None:
    image = torch.zeros(2, 3, 4, 5)
    for label in (torch.zeros(2, 1, 4, 5), torch.zeros(2, 7, 4, 5)):
        check_label_map(image, label)
    for shape in ((2, 4, 5), (1, 1, 4, 5), (2, 1, 4, 4), (2, 1, 5, 4), (2, 1, 4, 5, 1)):
        with pytest.raises(ValueError, match="label must lie on the image's grid"):
            check_label_map(image, torch.zeros(shape))
    with pytest.raises(ValueError, match="label must be a tensor, got list"):
        check_label_map(image, [1])


def test_affines_are_compared_where_both_are_known() -> None:
    plain = torch.zeros(1, 4, 4, 4)

    def at(offset: float, shape: tuple[int, ...] = (1, 4, 4, 4)) -> MetaTensor:
        affine = torch.eye(4, dtype=torch.float64)
        affine[0, 3] = offset
        return MetaTensor(torch.zeros(shape), affine=affine)

    for image, label in ((plain, at(9)), (at(9), plain), (at(0), at(0.0009)), (at(0), at(9, (4, 4, 4))), (3, at(9))):
        check_same_grid(image, label)
    for offset in (0.0011, 9.0, -9.0):
        with pytest.raises(ValueError, match="the affines differ"):
            check_same_grid(at(0), at(offset))


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (torch.tensor([0.0, NAN, INF]), r"samples \[0\]: 2 of 3 values"),
        (torch.tensor([[0.0, 1.0], [INF, 2.0]]), r"samples \[1\]: 1 of 4 values"),
        (torch.tensor([[0.0, 1.0], [-INF, 2.0]]), r"samples \[1\]: 1 of 4 values"),
        ({"a": torch.zeros(3, 1), "b": [torch.tensor([[0.0], [0.0], [NAN]])]}, r"samples \[2\]: 1 of 6 values"),
        (
            (torch.tensor([[NAN], [0.0]]), torch.tensor([[0.0, 1.0], [NAN, NAN]])),
            r"samples \[0, 1\]: 3 of 6 values",
        ),
    ],
)
def test_predictions_that_are_not_finite(prediction: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_prediction(prediction)
    with pytest.raises(ValueError, match=message):  # it did not pass
        check_prediction(prediction)


def test_predictions_without_values_that_could_be_infinite() -> None:
    for prediction in (torch.zeros(0, 3), torch.ones(2, dtype=torch.long), {"size": (3, 4)}, [], torch.zeros(1)):
        check_prediction(prediction)
    assert tensors_of("text") == tensors_of(3) == tensors_of({"a": (1, "b")}) == []
    assert len(tensors_of({"a": [torch.zeros(1), (torch.zeros(2), 3)]})) == 2


def test_what_has_passed_is_looked_at_again_once_it_was_written_to() -> None:
    tensor = torch.zeros(2, 2)
    check_prediction(tensor)
    tensor[1, 0] = NAN
    with pytest.raises(ValueError, match=r"samples \[1\]"):
        check_prediction(tensor)
    passed = Passed()
    assert not passed.holds(tensor)
    passed.note(tensor, against="a")
    assert passed.holds(tensor, against="a")
    assert not passed.holds(tensor, against="b")
    assert not passed.holds(tensor.clone(), against="a")
    tensor.add_(1)
    assert not passed.holds(tensor, against="a")
    passed.note("no tensor")
    assert not passed.holds("no tensor")
    with torch.inference_mode():
        uncounted = torch.zeros(2)
        passed.note(uncounted)
        assert not passed.holds(uncounted)


def test_shapes_are_those_of_a_sample() -> None:
    seen = SeenShapes()
    seen.check([torch.zeros(2, 3), torch.zeros(2, 4, 5)])
    seen.check([torch.zeros(7, 3), torch.zeros(7, 4, 5)])
    assert seen.shapes == [(3,), (4, 5)]
    for other in ([torch.zeros(2, 3)], [torch.zeros(2, 3), torch.zeros(2, 4, 4)], torch.zeros(2, 3)):
        with pytest.raises(ValueError, match="must keep its shape"):
            seen.check(other)


@pytest.mark.parametrize(
    ("dtype", "ignored", "given", "label"),
    [
        (torch.uint8, -1, [0, 255, 254], [0, -1, 254]),
        (torch.uint8, -2, [0, 255, 254], [0, 255, -2]),
        (torch.int16, -1, [0, -1, 255], [0, -1, 255]),
        (torch.uint8, 255, [0, 255], [0, 255]),
        (torch.uint8, 0, [0, 255], [0, 255]),
        (torch.uint8, None, [0, 255], [0, 255]),
        (torch.bool, -1, [True, False], [1, 0]),
    ],
)
def test_labels_of_any_type_are_long(dtype: torch.dtype, ignored: int | None, given: Any, label: list[int]) -> None:
    victim: LogitsVictim = ClassificationVictim(torch.nn.Identity(), ignore_index=ignored)
    found = victim.as_label(torch.tensor(given, dtype=dtype))
    assert (found.dtype, found.tolist()) == (torch.long, label)
    floating = torch.tensor([1.0])
    assert victim.as_label(floating) is floating
    assert victim.as_label([1]) == [1]


def frozen(array: Callable, image: Tensor) -> Callable:
    return freeze_on(array, MetaTensor(image))


VALUES = torch.tensor([[0.0, 2.0, 4.0, 6.0], [0.0, 0.0, 10.0, 30.0]])


@pytest.mark.parametrize(
    ("options", "subtrahend", "divisor"),
    [
        ({}, 6.5, 9.473648),  # of 0, 2, 4, 6, 0, 0, 10, 30
        ({"nonzero": True}, 10.4, 10.150862),
        ({"channel_wise": True}, [3.0, 10.0], [2.236068, 12.247449]),
        ({"channel_wise": True, "nonzero": True}, [4.0, 20.0], [1.632993, 10.0]),
        ({"subtrahend": [1.0, 2.0], "divisor": [4.0, 0.0], "channel_wise": True}, [1.0, 2.0], [4.0, 1.0]),
        ({"subtrahend": 1.0}, 1.0, 9.473648),
    ],
)
def test_statistics_of_a_clean_image(options: dict[str, Any], subtrahend: Any, divisor: Any) -> None:
    attacked = VALUES + torch.tensor([[0.0, 1.0, -4.0, 5.0]])
    mean, deviation = (np.reshape(v, (-1, 1)) for v in (subtrahend, divisor))
    expected = (attacked.numpy() - mean) / deviation
    if options.get("nonzero"):
        expected = np.where(attacked.numpy() != 0, expected, attacked.numpy())
    found = frozen(NormalizeIntensity(**options), VALUES)(attacked)
    assert np.allclose(found.numpy(), expected, atol=1e-5)


def test_statistics_of_an_image_that_has_none() -> None:
    """Of a constant one nothing is divided; of zeros alone, nothing is known."""
    constant = frozen(NormalizeIntensity(), torch.full((1, 4), 3.0))
    assert constant(torch.tensor([[5.0]])).tolist() == [[2.0]]
    zeros = frozen(NormalizeIntensity(nonzero=True), torch.zeros(1, 4))
    assert zeros(torch.tensor([[5.0, 0.0]])).tolist() == [[5.0, 0.0]]
    whole = frozen(NormalizeIntensity(dtype=np.float64), VALUES)(VALUES)
    assert whole.dtype == torch.float64
    kept = frozen(NormalizeIntensity(dtype=None), VALUES.to(torch.float64))
    assert kept(VALUES.to(torch.float64)).dtype == torch.float64


def test_percentiles_of_a_clean_image() -> None:
    image = torch.arange(101.0)[None]
    for options, low, high in (
        ({}, 2.0, 10.0),
        ({"relative": True}, 2 + 8 * 0.1, 2 + 8 * 0.8),
    ):
        scale = frozen(ScaleIntensityRangePercentiles(10, 80, 2.0, 10.0, **options), image)
        found = scale(torch.tensor([[10.0, 80.0, 45.0, 115.0]]))
        assert found[0].tolist() == pytest.approx([low, high, (low + high) / 2, 1.5 * high - 0.5 * low])
    clipped = frozen(ScaleIntensityRangePercentiles(10, 80, 0.0, 1.0, clip=True), image)
    assert clipped(torch.tensor([[0.0, 101.0]])).tolist() == [[0.0, 1.0]]
    centred = frozen(ScaleIntensityRangePercentiles(10, 80, None, None), image)
    assert float(centred(torch.tensor([[80.0]]))) == pytest.approx(1.0)
    relative = frozen(ScaleIntensityRangePercentiles(10, 80, 0.0, None, relative=True), image)
    assert relative(torch.tensor([[80.0]]))[0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "array", [ScaleIntensity(channel_wise=True), ScaleIntensityRangePercentiles(0, 100, 0, 1, channel_wise=True)]
)
def test_what_is_scaled_channel_by_channel(array: Callable) -> None:
    """By each channel's own ends, whatever it is given."""
    scale = frozen(array, torch.tensor([[0.0, 2.0, 4.0], [10.0, 30.0, 20.0]]))
    assert scale(torch.tensor([[1.0, 8.0], [15.0, 40.0]])).tolist() == [[0.25, 2.0], [0.25, 1.5]]


def test_a_scale_and_a_crop_that_follow_the_clean_image() -> None:
    scale = frozen(ScaleIntensity(-1.0, 3.0), VALUES)
    assert scale(torch.tensor([[0.0, 15.0, 60.0]])).tolist() == [[-1.0, 1.0, 7.0]]
    image = torch.zeros(1, 6, 6)
    image[0, 2:4, 1:5] = 1
    crop = frozen(CropForeground(), image)
    assert crop(torch.ones(1, 6, 6)).shape == (1, 2, 4)
    with pytest.raises(ValueError, match="finds no foreground"):
        frozen(CropForeground(), torch.zeros(1, 6, 6))
    thin = torch.zeros(1, 6, 6)
    thin[0, 2, 1] = 1
    assert frozen(CropForeground(), thin)(torch.ones(1, 6, 6)).shape == (1, 1, 1)


def test_a_window_that_lets_the_gradient_through() -> None:
    window = StraightThroughScale(ScaleIntensityRange(0, 10, -1, 1, clip=True))
    point = torch.tensor([[-5.0, 5.0, 25.0]], requires_grad=True)
    found = window(point)
    assert found.tolist() == [[-1.0, 0.0, 1.0]]
    found.sum().backward()
    assert point.grad is not None
    assert point.grad.tolist() == [pytest.approx([0.2] * 3)]
    meta = window(MetaTensor(torch.tensor([[25.0]]), affine=2 * torch.eye(4)))
    assert isinstance(meta, MetaTensor)
    assert float(meta.affine[0, 0]) == 2


def test_whose_transform_a_dictionary_holds() -> None:
    assert array_attribute(ScaleIntensityRangePercentilesd("image", 1, 9, 0, 1)) == "scaler"
    assert array_attribute(ScaleIntensity()) is None
    assert is_one_of(ScaleIntensity(), ("ScaleIntensity",))
    assert not is_one_of(type("ScaleIntensity", (ScaleIntensity,), {})(), ("ScaleIntensity",))
    assert not is_one_of(ScaleIntensity(), ("Flip",))
    assert follows(ScaleIntensity())
    for step in (EnsureType(), EnsureTyped("image"), ToTensor()):
        assert follows(step)
    for step in (EnsureType(track_meta=False), EnsureTyped("image", track_meta=False), ToTensor(track_meta=False)):
        assert not follows(step)
    assert not follows(torch.relu)
    own = type("Own", (), {"__call__": lambda self, image: image})
    assert not follows(own())
    assert follows(type("Kept", (own,), {"keeps_voxels": True})())


def test_images_that_are_alike_up_to_rounding() -> None:
    image = torch.tensor([0.0, 100.0])
    for difference, same in ((0.0099, True), (0.0101, False), (-0.0101, False)):
        assert _alike(image + torch.tensor([difference, 0.0]), image) is same
    assert not _alike(image[:1], image)
    assert _alike(MetaTensor(image), image.tolist())


def test_plain_tensors_and_the_samples_of_a_batch() -> None:
    meta = MetaTensor(torch.zeros(2, 1, 3), affine=torch.eye(4))
    assert type(as_plain(meta)) is Tensor
    assert as_plain("text") == "text"
    with torch.inference_mode():
        uncounted = torch.zeros(2)
        assert as_plain(uncounted) is uncounted
    assert not as_plain(uncounted).is_inference()
    assert [type(sample) for sample in split_batch(meta)] == [MetaTensor, MetaTensor]
    assert [tuple(sample.shape) for sample in split_batch(torch.zeros(2, 1, 3))] == [(1, 3), (1, 3)]
