"""Median smoothing against closed forms: what is certified holds as often as it says, and approaches the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from monai_smia.certificates.median import certified_range, is_broken, lower_share, median_bound
from monai_smia.shifts import Dose, Gamma, HUCalibration, HUOffset, RigidMotion, Shift, ShiftChain, Zoom
from monai_smia.shifts.smoothed import from_normal

TRIALS = 2000


@pytest.mark.parametrize(("draws", "distance", "sigma"), [(60, 1.0, 1.0), (20, 0.5, 1.0), (100, 1.0, 0.6)])
@pytest.mark.parametrize("up", [True, False])
def test_of_a_linear_value_the_bound_is_wrong_in_one_of_twenty_at_most(
    draws: int, distance: float, sigma: float, up: bool
) -> None:
    """The value is z: its median around a center is the center's, whose worst is `distance` away."""
    values = np.random.default_rng(0).normal(0, sigma, (TRIALS, draws))
    truth = -distance if up else distance
    bounds = [median_bound(list(each), distance, sigma, higher_is_better=up) for each in values]
    known = [bound for bound in bounds if bound is not None]
    assert len(known) == TRIALS
    wrong = np.mean([bound > truth if up else bound < truth for bound in known])
    assert wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / TRIALS)
    assert wrong > 0.005  # it is not empty


def test_with_many_draws_it_is_the_truth() -> None:
    values = np.random.default_rng(1).normal(0, 1, 40000)
    for distance in (0.0, 0.5, 1.0):
        bound = median_bound(list(values), distance, 1.0)
        assert bound is not None
        assert -distance - 0.05 < bound <= -distance


@pytest.mark.parametrize(("draws", "sigma", "margin"), [(60, 1.0, 0.8), (200, 2.0, 2.0)])
def test_of_a_threshold_the_range_is_wrong_in_one_of_twenty_at_most(draws: int, sigma: float, margin: float) -> None:
    """Kept where z is below the margin: fewer than half of the draws keep it from a distance of the margin on."""
    kept = (np.random.default_rng(2).normal(0, sigma, (TRIALS, draws)) < margin).sum(1)
    reached = np.array([certified_range(int(count), draws, sigma) for count in kept])
    assert np.mean(reached > margin) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / TRIALS)
    exact = certified_range(round(100_000 * norm.cdf(margin / sigma)), 100_000, sigma)
    assert margin - 0.03 < exact <= margin


def test_range_and_bound_are_one_statement() -> None:
    """The range of a limit is the distance up to which the bound is no worse than it."""
    values = [float(v) for v in np.random.default_rng(3).normal(0, 1, 60)]
    for limit in (-1.5, -0.8, -0.3):
        reached = certified_range(sum(value >= limit for value in values), 60, 1.0)
        for distance in (0.98 * reached, 1.02 * reached):
            bound = median_bound(values, distance, 1.0)
            assert (bound is not None and bound >= limit) is (distance < reached)


def test_an_attack_is_believed_with_confidence_alone() -> None:
    """Draws around a point whose median keeps it, just so: they say that it is broken in one of twenty at most."""
    kept = np.random.default_rng(4).binomial(20, 0.5, 20_000)
    assert np.mean([is_broken(int(count), 20) for count in kept]) <= 0.05
    assert is_broken(0, 20)
    assert not is_broken(10, 20)


def test_what_nothing_can_be_said_of() -> None:
    assert median_bound([], 1.0, 1.0) is None
    assert median_bound([1.0] * 10, 1.0, 1.0) is None
    assert median_bound([1.0] * 60, 3.0, 1.0) is None
    assert certified_range(30, 60, 1.0) == 0.0
    assert lower_share(0, 10) == 0.0


SHIFTS: list[tuple[Shift, int]] = [
    (HUOffset(severity=3), 3),
    (HUCalibration(severity=5), 3),
    (Dose(severity=2), 3),
    (RigidMotion(severity=4), 3),
    (Gamma(severity=3), 2),
    (Zoom(severity=1), 2),
    (ShiftChain(shifts=(HUCalibration(severity=2), Dose(severity=4))), 3),
]


@pytest.mark.parametrize(("shift", "dims"), SHIFTS, ids=lambda value: getattr(value, "title", value))
def test_one_is_the_end_of_the_box_and_nothing_leaves_the_largest(shift: Shift, dims: int) -> None:
    count = len(shift.neutral(dims))
    low, high = shift.box(dims)
    torch.testing.assert_close(from_normal(shift, torch.zeros(count).double(), dims), shift.neutral(dims))
    ends = torch.stack([from_normal(shift, sign * torch.ones(count).double(), dims) for sign in (1, -1)])
    signed = torch.tensor([p.signed for p in shift.parameters(dims) for _ in range(p.count)])
    torch.testing.assert_close(ends.amin(0).where(signed, low), low)
    torch.testing.assert_close(ends.amax(0).where(signed, high), high)
    assert bool((ends[0] == ends[1]).logical_or(signed).all())
    inside = from_normal(shift, torch.rand(500, count).double() * 2 - 1, dims)
    assert bool(((inside >= low - 1e-9) & (inside <= high + 1e-9)).all())
    parts = getattr(shift, "shifts", [shift])
    boxes = [type(part)(severity=5).box(dims) for part in parts]
    lowest, highest = (torch.cat([box[end] for box in boxes]) for end in (0, 1))
    drawn = from_normal(shift, 5 * torch.randn(500, count).double(), dims)
    assert bool(((drawn >= lowest - 1e-9) & (drawn <= highest + 1e-9)).all())
