"""The multi-scale booster on a feature pyramid: a feature extractor for MONAI's RetinaNet that needs no torchvision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks import ChannelSELayer
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from monai_smia.targets.resnet import resnet_body

__all__ = ["BoosterPyramid", "MultiScaleBooster"]


class MultiScaleBooster(nn.Module):
    """The booster of one pyramid level (Shao et al., MICCAI 2019).

    Parallel convolutions of growing dilation see the scales between this level and the next; channel attention and then
    spatial attention choose among them, and what they choose is added back to the level.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the level, divisible by 8.
        dilations: dilation of every branch.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> MultiScaleBooster(2, 16)(torch.rand(1, 16, 8, 10)).shape
        torch.Size([1, 16, 8, 10])
    """

    def __init__(self, spatial_dims: int, channels: int, dilations: Sequence[int] = (1, 2, 3)) -> None:
        super().__init__()
        if channels < 8 or channels % 8:
            raise ValueError(f"channels must be a positive multiple of 8, got {channels}.")
        if not dilations or min(dilations) < 1:
            raise ValueError(f"dilations must be whole numbers >= 1, at least one, got {dilations}.")
        conv = Conv["conv", spatial_dims]
        half, both = channels // 2, channels // 2 * len(dilations)
        self.branches = nn.ModuleList([conv(channels, half, 3, padding=d, dilation=d) for d in dilations])
        self.norm = nn.GroupNorm(len(dilations), both)
        self.channel_attention = ChannelSELayer(spatial_dims, both, r=4)
        self.spatial_attention = conv(2, 1, 5, padding=2)
        self.fuse = conv(both, channels, 1)

    def forward(self, level: Tensor) -> Tensor:
        """The boosted level, of the level's shape ``(B, C, *spatial)``."""
        scales = self.norm(torch.cat([branch(level) for branch in self.branches], 1)).relu()
        scales = self.channel_attention(scales)
        summary = torch.cat([scales.amax(1, keepdim=True), scales.mean(1, keepdim=True)], 1)
        return level + self.fuse(scales * self.spatial_attention(summary).sigmoid())


class BoosterPyramid(nn.Module):
    """ResNet, feature pyramid and a booster on every level, as `feature_extractor` of MONAI's RetinaNet.

    The strides of the levels are 8, 16, 32 and 64; images should be divisible by 64 (`size_divisible`).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        planes: channels of the ResNet's four stages.
        layers: residual blocks of each stage; (2, 2, 2, 2) is ResNet-18.
        out_channels: channels of every level, divisible by 8.
        booster: False leaves a plain feature pyramid, for comparison.

    Example:
        >>> from monai.apps.detection.networks.retinanet_network import RetinaNet
        >>> pyramid = BoosterPyramid(planes=(8, 8, 16, 16), layers=(1, 1, 1, 1), out_channels=16)
        >>> network = RetinaNet(2, num_classes=7, num_anchors=1, feature_extractor=pyramid, size_divisible=64)
        >>> [tuple(m.shape) for m in network(torch.rand(1, 3, 64, 128))["classification"]]
        [(1, 7, 8, 16), (1, 7, 4, 8), (1, 7, 2, 4), (1, 7, 1, 2)]
    """

    size_divisible = 64

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        *,
        planes: Sequence[int] = (32, 64, 128, 256),
        layers: Sequence[int] = (2, 2, 2, 2),
        out_channels: int = 64,
        booster: bool = True,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.body = resnet_body("basic", layers, planes, spatial_dims=spatial_dims, in_channels=in_channels)
        self.pyramid = FeaturePyramidNetwork(
            spatial_dims, list(planes[1:]), out_channels, extra_blocks=LastLevelMaxPool(spatial_dims)
        )
        self.boosters = nn.ModuleList(
            [MultiScaleBooster(spatial_dims, out_channels) if booster else nn.Identity() for _ in range(4)]
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """The levels ``(B, out_channels, *spatial / stride)``, the finest first."""
        body = self.body
        features = body.layer1(body.maxpool(body.act(body.bn1(body.conv1(image)))))
        stages = {}
        for name, stage in (("2", body.layer2), ("3", body.layer3), ("4", body.layer4)):
            features = stages[name] = stage(features)
        return [boost(level) for boost, level in zip(self.boosters, self.pyramid(stages).values(), strict=True)]
