"""A residual network whose classifier is made by a graph convolutional network over the outputs."""

# no `from __future__ import annotations`: TorchScript reads the types, and cannot read them as strings
from collections.abc import Sequence

from torch import Tensor

from monai_smia.targets.fundus.graph_classified import GraphClassified
from monai_smia.targets.resnet import resnet_body


class ResNetGCN(GraphClassified):
    """MONAI's ResNet, its classifier made by a graph convolutional network, see `GraphClassified`.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: raw logits, K classes or the K - 1 thresholds of an ordinal grader.
        block: ``"bottleneck"`` or ``"basic"``.
        layers: blocks of each of the four stages; (3, 4, 6, 3) with bottlenecks is ResNet-50.
        widths: planes of each stage; ResNet-50 has (64, 128, 256, 512).
        adjacency: ``(out_channels, out_channels)``, which outputs are neighbors, without self loops; by default
            consecutive ones.
        node_features: length of a node's embedding.
        hidden_features: length of the embedding between the two graph convolutions.

    Raises:
        ValueError: if the adjacency does not fit, see `normalized_adjacency`.

    Example:
        >>> import torch
        >>> network = ResNetGCN(out_channels=4, widths=(4, 8, 16, 32))
        >>> network(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 5,
        block: str = "bottleneck",
        layers: Sequence[int] = (3, 4, 6, 3),
        widths: Sequence[int] = (64, 128, 256, 512),
        adjacency: Sequence[Sequence[float]] | Tensor | None = None,
        node_features: int = 64,
        hidden_features: int = 128,
    ) -> None:
        backbone = resnet_body(
            block, layers, widths, spatial_dims=spatial_dims, in_channels=in_channels, bias_downsample=False
        )
        expansion = backbone.in_planes // widths[3]
        super().__init__(
            backbone,
            (widths[2] * expansion, widths[3] * expansion),
            out_channels=out_channels,
            adjacency=adjacency,
            node_features=node_features,
            hidden_features=hidden_features,
        )

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The feature maps of the third and of the fourth stage, at 1/16 and 1/32 of the image."""
        b = self.backbone
        third = b.layer3(b.layer2(b.layer1(b.maxpool(b.act(b.bn1(b.conv1(image)))))))  # type: ignore[operator]
        return third, b.layer4(third)  # type: ignore[operator]
