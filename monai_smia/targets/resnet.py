"""The ResNet that the networks of two targets are built on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.networks.nets import ResNet


def resnet_body(
    block: str, layers: Sequence[int], widths: Sequence[int], *, spatial_dims: int, in_channels: int, **options: Any
) -> ResNet:
    """MONAI's ResNet with the stem of the paper (7 wide, stride 2, then a pool) and without a last layer.

    Args:
        block: ``"basic"`` or ``"bottleneck"``.
        layers: blocks of every stage.
        widths: planes of every stage.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        **options: more for MONAI's ResNet.

    Example:
        >>> body = resnet_body("basic", [1, 1, 1, 1], [4, 4, 8, 8], spatial_dims=2, in_channels=3)
        >>> body.conv1.kernel_size, body.conv1.stride
        ((7, 7), (2, 2))
    """
    return ResNet(
        block,
        list(layers),
        list(widths),
        spatial_dims=spatial_dims,
        n_input_channels=in_channels,
        conv1_t_size=7,
        conv1_t_stride=2,
        feed_forward=False,
        **options,
    )
