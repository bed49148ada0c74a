"""EfficientNet-Lite0 whose classifier is made by a graph convolutional network, for weights of ImageNet."""

# no `from __future__ import annotations`: TorchScript reads the types, and cannot read them as strings
from collections.abc import Sequence

from torch import Tensor

from monai_smia.targets.efficientnet import CHANNELS, EfficientNetLite0
from monai_smia.targets.fundus.graph_classified import GraphClassified


class EfficientGCN(GraphClassified):
    """EfficientNet-Lite0, its classifier made by a graph convolutional network, see `GraphClassified`.

    Args:
        out_channels: raw logits, K classes or the K - 1 thresholds of an ordinal grader.
        frozen_stages: so many of the seven stages keep their weights in training, and the stem with them if any does.
        adjacency: ``(out_channels, out_channels)``, which outputs are neighbors, without self loops; by default
            consecutive ones.
        node_features: length of a node's embedding.
        hidden_features: length of the embedding between the two graph convolutions.

    Raises:
        ValueError: if the adjacency does not fit, see `normalized_adjacency`, or `frozen_stages` is outside its range.

    Example:
        >>> import torch
        >>> EfficientGCN(out_channels=4)(torch.rand(2, 3, 64, 96)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        *,
        out_channels: int = 5,
        frozen_stages: int = 2,
        adjacency: Sequence[Sequence[float]] | Tensor | None = None,
        node_features: int = 64,
        hidden_features: int = 128,
    ) -> None:
        super().__init__(
            EfficientNetLite0(frozen_stages=frozen_stages),
            CHANNELS[1:],
            out_channels=out_channels,
            adjacency=adjacency,
            node_features=node_features,
            hidden_features=hidden_features,
        )

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The feature maps at 1/16 and at 1/32 of images ``(B, 3, H, W)`` in [0, 1]."""
        maps = self.backbone(image)
        return maps[1], maps[2]
