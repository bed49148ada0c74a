"""Windows whose gradient nobody needs are not run again."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SlidingWindowInferer
from window_helpers import Net, rand

from monai_smia.attacks import MIFGSM, SMIA, Attack, SurvivalSMIA
from monai_smia.inferers import CheckpointedSlidingWindowInferer, restrict_gradient
from monai_smia.victims import SegmentationVictim


def test_windows_without_a_gradient_are_skipped() -> None:
    calls: list[int] = []
    net = Net(2)
    net.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    x = rand(1, 2, 32, 8).requires_grad_(True)
    output = CheckpointedSlidingWindowInferer(8, overlap=0)(x, net)
    assert len(calls) == 4
    output[..., :8, :].sum().backward()
    assert len(calls) == 5
    assert not x.grad[..., 8:, :].any()
    assert x.grad[..., :8, :].any()


@pytest.mark.parametrize("memory_limit", [0, float("inf")])
def test_windows_beside_the_region_are_not_differentiated(memory_limit: float) -> None:
    """A region in the first rows of an image that is narrower than the window, and hence padded."""
    net, image = Net(2), rand(1, 2, 32, 6)
    region = torch.zeros_like(image, dtype=torch.bool)
    region[..., 2:5, :] = True
    inferer = CheckpointedSlidingWindowInferer(8, overlap=0.5, memory_limit=memory_limit)
    backwards: list[int] = []
    net.register_full_backward_hook(lambda *_: backwards.append(1))
    everywhere, within = image.clone().requires_grad_(True), image.clone().requires_grad_(True)
    inferer(everywhere, net).square().sum().backward()
    assert len(backwards) == 7  # windows at rows 0, 4, ..., 24
    inferer(restrict_gradient(within, region), net).square().sum().backward()
    assert len(backwards) == 7 + 2  # the region lies in the first two
    assert torch.equal(everywhere.grad[region], within.grad[region])
    assert not within.grad[..., 12:, :].any()


class PlainInferer(SlidingWindowInferer):
    """MONAI's own, which a victim leaves as it is."""


@pytest.mark.parametrize("attack", [MIFGSM(eps=0.1, steps=3), SMIA(eps=0.1, steps=3), SurvivalSMIA(eps=0.1, steps=3)])
def test_masked_attacks_find_what_they_find_by_plain_autograd(attack: Attack) -> None:
    image, label = rand(1, 2, 32, 8), (rand(1, 1, 32, 8) > 0.5).double()
    mask = torch.zeros(1, 1, 32, 8)
    mask[..., 9:12, :] = 1
    plain, ours = (
        attack(SegmentationVictim(Net(2), inferer=kind(8, overlap=0.5)), image, label, mask=mask)
        for kind in (PlainInferer, SlidingWindowInferer)
    )
    assert bool(plain.perturbation.any())
    torch.testing.assert_close(plain.adversarial, ours.adversarial)


def test_gradient_only_where_one_is_asked_for() -> None:
    output = CheckpointedSlidingWindowInferer(6)(rand(1, 2, 10, 10), Net(2))
    assert not output.requires_grad
