from __future__ import annotations

import pytest
import torch
from monai.apps.detection.networks.retinanet_network import RetinaNet

from monai_smia.targets.endoscopy import EfficientPyramid


def test_levels_of_a_retinanet() -> None:
    pyramid = EfficientPyramid(out_channels=16).eval()
    network = RetinaNet(2, num_classes=1, num_anchors=1, feature_extractor=pyramid, size_divisible=64)
    heads = network(torch.rand(2, 3, 128, 64))
    for stride, logits, codes in zip((8, 16, 32, 64), heads["classification"], heads["box_regression"], strict=True):
        assert logits.shape == (2, 1, 128 // stride, 64 // stride)
        assert codes.shape == (2, 4, 128 // stride, 64 // stride)


def test_training_leaves_the_backbones_statistics_and_trains_the_boosters() -> None:
    pyramid = EfficientPyramid(out_channels=8, frozen_stages=2).train()
    assert pyramid.boosters.training
    assert not any(module.training for module in pyramid.body.modules())


def test_the_gradient_reaches_the_image_through_frozen_stages() -> None:
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    pyramid = EfficientPyramid(out_channels=8, frozen_stages=7)
    sum(level.sum() for level in pyramid(image)).backward()
    assert image.grad is not None
    assert (image.grad != 0).float().mean() > 0.9


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"frozen_stages must lie in \[0, 7\], got 8"):
        EfficientPyramid(frozen_stages=8)
    with pytest.raises(ValueError, match="channels must be a positive multiple of 8, got 12"):
        EfficientPyramid(out_channels=12)
