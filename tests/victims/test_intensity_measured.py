"""The slope that is measured: how many values are asked, what slopes may differ by, and windows of every width."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from monai.transforms import (
    Lambda,
    ScaleIntensity,
    ScaleIntensityRange,
)
from torch import Tensor

from monai_smia.victims.intensity import known_scale, measured_scale


def counted(image: Tensor, function: Callable[[Tensor], Tensor]) -> tuple[float, int]:
    """The scale, and how often the transform was asked."""
    calls = []

    def apply(given: Tensor) -> Tensor:
        calls.append(1)
        return function(given)

    return measured_scale(Lambda(function), image, apply), len(calls)


def test_a_large_image_is_asked_of_many_values_at_once() -> None:
    for shape, calls in (((1, 64, 64, 32), 4), ((1, 64, 64, 31), 100), ((2, 64, 64, 32), 7)):
        image = torch.linspace(0, 1, 2**17)[: 64 * 64 * shape[-1]].reshape(1, *shape[1:]).expand(shape)
        assert counted(image, lambda given: 3 * given + 1) == (pytest.approx(3), calls)


RAMP = torch.linspace(0, 32, 36).view(1, 6, 6)  # probed at 0, 1, ..., 32


@pytest.mark.parametrize(("wave", "fits"), [(0.25, True), (0.375, False)])
def test_slopes_may_differ_by_what_their_outputs_are_rounded_by(wave: float, fits: bool) -> None:
    """At 2^20 single precision has eighths: four of them between two slopes are allowed, and no six."""
    function = lambda i: (2.0**20 + i + wave * (i.round() % 2)).float()  # noqa: E731
    if fits:
        assert counted(RAMP, function)[0] == pytest.approx(1, abs=0.02)
    else:
        with pytest.raises(ValueError, match=r"got slopes from 0\.625 to 1\.375"):
            counted(RAMP, function)


@pytest.mark.parametrize(("more", "fits"), [(0.9e-3, True), (1.2e-3, False)])
def test_slopes_may_differ_by_a_thousandth(more: float, fits: bool) -> None:
    function = lambda i: i + more * (i - 16).clamp_min(0)  # noqa: E731
    if fits:
        assert counted(RAMP.double(), function)[0] == pytest.approx(1, abs=1e-3)
    else:
        with pytest.raises(ValueError, match="must scale intensities by one slope"):
            counted(RAMP.double(), function)


@pytest.mark.parametrize(("share", "fits"), [(0.015, True), (0.025, False)])
def test_a_voxel_may_answer_to_a_hundredth_or_two_of_another(share: float, fits: bool) -> None:
    function = lambda i: i + share * i.roll(1, 2)  # noqa: E731
    if fits:
        assert counted(RAMP, function)[0] == pytest.approx(1, abs=1e-4)
    else:
        with pytest.raises(ValueError, match="Lambda mixes voxels"):
            counted(RAMP, function)


def test_an_interval_that_the_edge_of_a_window_cuts_is_left_out() -> None:
    for low, high in ((3.5, 40), (-1, 20.5), (3.5, 20.5)):
        assert counted(RAMP, lambda i, low=low, high=high: 2 * i.clamp(low, high))[0] == pytest.approx(2)
    assert counted(torch.full((1, 4, 4), 5.0), lambda i: 2 * i)[0] == pytest.approx(2)


@pytest.mark.parametrize("low", [0.0, 3.1, 3.5, 31.6])
@pytest.mark.parametrize("wide", [0.02, 0.3, 1.0, 1.9])
def test_a_window_narrower_than_what_is_tried_is_looked_at_more_closely(low: float, wide: float) -> None:
    """As of 80 HU in a CT whose values span 4,000: its slope was taken for that of an interval of 125."""
    for image in (RAMP, RAMP.double()):
        found, _ = counted(image, lambda i: 2 * i.clamp(low, low + wide))
        assert found == pytest.approx(2, rel=2e-3)


@pytest.mark.parametrize(
    "step", [lambda i: (i > 3.3).float(), lambda i: (i > 3.3).double(), lambda i: (i - 7.7).sign()]
)
def test_a_step_has_no_slope(step: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"must scale intensities by one slope .* got slopes from 0 to"):
        counted(RAMP, step)


def test_scales_that_are_known() -> None:
    told = {
        ScaleIntensity(minv=None, maxv=None, factor=None): 1.0,
        ScaleIntensity(minv=None, maxv=None, factor=0.5): 1.5,
        ScaleIntensityRange(0, 10, None, 4): 0.1,
        ScaleIntensityRange(0, 10, 4, None): 0.1,
        ScaleIntensityRange(0, 10, 1, 6): 0.5,
        ScaleIntensityRange(5, 10, -1, 1): 0.4,
    }
    assert {transform: known_scale(transform) for transform in told} == pytest.approx(told)
    assert known_scale(Lambda(lambda i: i)) is None
