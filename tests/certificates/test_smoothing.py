"""Certificates on linear models, whose margins are known, and against attacks, which they must never cross."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from monai_smia.attacks import ShiftAttack
from monai_smia.certificates import certify_class, certify_segmentation, lower_bound
from monai_smia.certificates.smoothing import _holm
from monai_smia.shifts import Contrast, HUOffset, RigidMotion
from monai_smia.victims import ClassificationVictim, SegmentationVictim

MARGIN = 30.0


class Mean(nn.Module):
    """Decides 1 where the mean of the image is above 0."""

    def forward(self, image: Tensor) -> Tensor:
        mean = image.flatten(1).mean(1)
        return torch.stack([-mean, mean], 1)


class Threshold(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([-image, image], 1)


def image(value: float = MARGIN, side: int = 4) -> Tensor:
    return torch.full((1, 1, side, side), value)


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    assert lower_bound(0, 10, 0.05) == 0
    assert lower_bound(10, 10, 0.05) == pytest.approx(0.05**0.1)
    p = lower_bound(7, 10, 0.05)
    tail = sum(math.comb(10, k) * p**k * (1 - p) ** (10 - k) for k in range(7, 11))
    assert tail == pytest.approx(0.05)


@pytest.mark.parametrize("sigma", [15.0, 30.0, 60.0])
def test_the_range_approaches_the_margin_from_below(sigma: float) -> None:
    """P(1) is Phi(margin / sigma), so that the range with all draws would be the margin itself."""
    found = certify_class(ClassificationVictim(Mean()), image(), sigma, shift=HUOffset(), draws=4000, batch=500)
    assert found.decision == 1
    assert found.p_lower < norm.cdf(MARGIN / sigma)
    assert 0.75 * MARGIN < found.reach[0] < MARGIN


def test_it_is_wrong_as_seldom_as_it_says() -> None:
    """In 200 repetitions at alpha .1: ranges beyond the margin, which is the closed form."""
    victim, wrong = ClassificationVictim(Mean()), 0
    for seed in range(200):
        options: dict[str, Any] = {"draws": 100, "selection": 10, "alpha": 0.1, "batch": 110, "seed": 10 * seed}
        wrong += certify_class(victim, image(side=1), 30.0, shift=HUOffset(), **options).reach[0] > MARGIN
    assert 1 <= wrong <= 200 * 0.1 + 3 * math.sqrt(200 * 0.1 * 0.9)


def test_pixels_have_the_l2_radius_of_cohen() -> None:
    """The distance of a constant image of 16 pixels from the border is 4 times its mean."""
    found = certify_class(ClassificationVictim(Mean()), image(5.0), 10.0, draws=4000, batch=500)
    assert 0.75 * 20 < found.reach[0] < 20


def test_certificate_and_attack_never_cross() -> None:
    """No offset within the range turns the decision: neither found by ascent, nor at the very end of the range."""
    for value in (-25.0, -8.0, 12.0, 33.0):
        victim, picture = ClassificationVictim(Mean()), image(value)
        truth = torch.tensor([int(value > 0)])
        found = certify_class(victim, picture, 20.0, shift=HUOffset(), draws=2000, batch=500)
        assert found.decision == int(truth)
        attack = ShiftAttack(HUOffset(), clip=None, draws=20, steps=10, progress=False)(victim, picture, truth)
        if float(attack.damage) == 1:
            assert abs(float(attack.values[0, 0])) > found.reach[0]
        for end in (-1, 1):
            moved = certify_class(
                victim, picture, 20.0, shift=HUOffset(), at=[end * 0.99 * found.reach[0]], draws=2000, batch=500
            )
            assert moved.decision in (found.decision, None)


def test_a_decision_at_the_border_is_none() -> None:
    found = certify_class(ClassificationVictim(Mean()), image(0.0), 20.0, shift=HUOffset(), draws=500, batch=500)
    assert (found.decision, found.radius, found.reach) == (None, 0.0, (0.0,))


def test_segments_are_certified_where_their_margin_is_wide_enough() -> None:
    """Of a ramp the voxels within the reach of the border abstain; those beyond it, but for chance, are certified."""
    ramp = torch.linspace(-100, 100, 64).view(1, 1, 8, 8)
    options: dict[str, Any] = {"draws": 400, "selection": 20, "threshold": 0.75, "batch": 100}
    found = certify_segmentation(SegmentationVictim(Threshold()), ramp, 20.0, shift=HUOffset(), **options)
    margin = ramp[0, 0].abs()
    assert bool((found.decision[margin <= 0.99 * found.reach[0]] == -1).all())
    wide = margin > 2.2 * found.reach[0]
    assert torch.equal(found.decision[wide], (ramp[0, 0] > 0).long()[wide])
    assert found.reach[0] == pytest.approx(20 * norm.ppf(0.75))
    assert 0.5 < found.certified < 0.95


def test_holm_by_hand() -> None:
    assert _holm(torch.tensor([0.01, 0.04, 0.02]), 0.05).tolist() == [True, True, True]
    assert _holm(torch.tensor([0.01, 0.06, 0.03]), 0.05).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"sigma": 0.0}, "sigma must"),
        ({"sigma": [1.0, 2.0]}, "sigma must"),
        ({"draws": 0}, "draws must"),
        ({"selection": 1.5}, "selection must"),
        ({"batch": True}, "batch must"),
        ({"alpha": 1.0}, "alpha must"),
        ({"shift": None, "at": [1.0]}, "at and clip are of a shift"),
        ({"shift": Contrast(), "at": [1.0], "sigma": 1.0}, "at must hold one value"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    given = {"shift": HUOffset(), "sigma": 1.0, **arguments}
    with pytest.raises(ValueError, match=named):
        certify_class(ClassificationVictim(Mean()), image(), given.pop("sigma"), **given)


def test_a_segmentation_that_moves_is_refused() -> None:
    with pytest.raises(ValueError, match="shift must leave anatomy where it is"):
        certify_segmentation(SegmentationVictim(Threshold()), image(), 1.0, shift=RigidMotion(lengths="%"))
    with pytest.raises(ValueError, match="threshold must"):
        certify_segmentation(SegmentationVictim(Threshold()), image(), 1.0, shift=HUOffset(), threshold=0.4)
