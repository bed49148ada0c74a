from __future__ import annotations

import sys

import pytest
import torch
from detectors import small_retina
from monai.apps.detection.networks.retinanet_network import RetinaNet

from monai_smia.targets.endoscopy import BoosterPyramid, MultiScaleBooster


@pytest.mark.parametrize("dims", [2, 3])
def test_pyramid_feeds_a_retinanet(dims: int) -> None:
    pyramid = BoosterPyramid(dims, 1, planes=(8, 8, 8, 8), layers=(1, 1, 1, 1), out_channels=16).eval()
    network = RetinaNet(dims, num_classes=5, num_anchors=2, feature_extractor=pyramid, size_divisible=64)
    size = (128,) * 2 if dims == 2 else (64,) * 3
    heads = network(torch.rand(2, 1, *size))
    strides = [8, 16, 32, 64]
    for stride, logits, codes in zip(strides, heads["classification"], heads["box_regression"], strict=True):
        level = tuple(n // stride for n in size)
        assert logits.shape == (2, 10, *level)
        assert codes.shape == (2, 4 * dims, *level)


def test_no_torchvision_is_needed() -> None:
    assert "torchvision" not in sys.modules
    assert small_retina().network is not None


def test_plain_pyramid_differs_by_the_boosters_alone() -> None:
    plain, boosted = (small_retina(booster=b).network.feature_extractor for b in (False, True))
    extra = {n for n, _ in boosted.named_parameters()} - {n for n, _ in plain.named_parameters()}
    assert extra
    assert all(name.startswith("boosters.") for name in extra)
    for booster in boosted.boosters:
        booster.fuse.weight.data.zero_()
        booster.fuse.bias.data.zero_()
    plain.load_state_dict(boosted.state_dict(), strict=False)
    image = torch.rand(1, 2, 64, 64, dtype=torch.float64)
    assert all(torch.equal(a, b) for a, b in zip(plain(image), boosted(image), strict=True))


def test_booster_reaches_as_far_as_its_widest_dilation() -> None:
    booster = MultiScaleBooster(2, 8, dilations=(1, 3)).double()
    level = torch.rand(1, 8, 15, 15, dtype=torch.float64, requires_grad=True)
    branch = torch.cat([b(level) for b in booster.branches], 1)
    (gradient,) = torch.autograd.grad(branch[..., 7, 7].sum(), level)
    reached = gradient.abs().sum((0, 1)).nonzero().unique().tolist()
    assert reached == [4, 6, 7, 8, 10]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="channels must be a positive multiple of 8, got 12"):
        MultiScaleBooster(2, 12)
    with pytest.raises(ValueError, match="dilations"):
        MultiScaleBooster(2, 8, dilations=())
