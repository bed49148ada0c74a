"""EfficientNet-Lite0, feature pyramid and boosters, for a detector that starts from weights of ImageNet."""

from __future__ import annotations

from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool
from torch import Tensor, nn

from monai_smia.targets.efficientnet import CHANNELS, EfficientNetLite0
from monai_smia.targets.endoscopy.multi_scale_booster import MultiScaleBooster

__all__ = ["EfficientPyramid"]


class EfficientPyramid(nn.Module):
    """EfficientNet-Lite0, feature pyramid and a booster on every level, as `feature_extractor` of MONAI's RetinaNet.

    The strides of the levels are 8, 16, 32 and 64; images, in [0, 1], should be divisible by 64 (`size_divisible`). The
    batch normalization of the backbone keeps its statistics in training, see `EfficientNetLite0`.

    Args:
        out_channels: channels of every level, divisible by 8.
        frozen_stages: so many of the seven stages keep their weights in training, and the stem with them if any does.
        booster: False leaves a plain feature pyramid, for comparison.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> import torch
        >>> [tuple(level.shape) for level in EfficientPyramid(out_channels=16)(torch.rand(1, 3, 64, 128))]
        [(1, 16, 8, 16), (1, 16, 4, 8), (1, 16, 2, 4), (1, 16, 1, 2)]
    """

    size_divisible = 64

    def __init__(self, *, out_channels: int = 64, frozen_stages: int = 2, booster: bool = True) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.body = EfficientNetLite0(frozen_stages=frozen_stages)
        self.pyramid = FeaturePyramidNetwork(2, list(CHANNELS), out_channels, extra_blocks=LastLevelMaxPool(2))
        self.boosters = nn.ModuleList(
            [MultiScaleBooster(2, out_channels) if booster else nn.Identity() for _ in range(4)]
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """The levels ``(B, out_channels, *spatial / stride)``, the finest first, of images in [0, 1]."""
        maps = {str(number): features for number, features in enumerate(self.body(image))}
        return [boost(level) for boost, level in zip(self.boosters, self.pyramid(maps).values(), strict=True)]
