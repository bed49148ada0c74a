"""EfficientNet-Lite0 whose classifier is made by a graph convolutional network, for weights of ImageNet."""

# no `from __future__ import annotations`: TorchScript reads the types, and cannot read them as strings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_smia.targets.efficientnet import CHANNELS, EfficientNetLite0
from monai_smia.targets.fundus.graph_classified import GraphClassified, mean_and_maximum


class EfficientGCN(GraphClassified):
    """EfficientNet-Lite0, its classifier made by a graph convolutional network, see `GraphClassified`.

    The image's features are the mean and the maximum over the maps at 1/16 and at 1/32 of the image, each standardized
    as over the photographs that the classifier was trained on, with dropout in training.

    Args:
        out_channels: raw logits, K classes or the K - 1 thresholds of an ordinal grader.
        frozen_stages: so many of the seven stages keep their weights in training, and the stem with them if any does.
        adjacency: ``(out_channels, out_channels)``, which outputs are neighbors, without self loops; by default
            consecutive ones.
        node_features: length of a node's embedding.
        hidden_features: length of the embedding between the two graph convolutions.
        dropout: share of the features that a training leaves out, in [0, 1).

    Raises:
        ValueError: if the adjacency does not fit, see `normalized_adjacency`, or `frozen_stages` or `dropout` is
            outside its range.

    Example:
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
        dropout: float = 0.5,
    ) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}.")
        super().__init__(
            EfficientNetLite0(frozen_stages=frozen_stages),
            CHANNELS[1:],
            features=2 * sum(CHANNELS[1:]),
            out_channels=out_channels,
            adjacency=adjacency,
            node_features=node_features,
            hidden_features=hidden_features,
        )
        self.standardize = nn.BatchNorm1d(self.features, affine=False)
        self.dropout = nn.Dropout(dropout)

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The feature maps at 1/16 and at 1/32 of images ``(B, 3, H, W)`` in [0, 1].

        Raises:
            ValueError: if it is given anything but images, such as features of `FeatureTraining`.
        """
        if image.ndim != 4:
            raise ValueError(f"image must have the shape (B, 3, H, W), got {tuple(image.shape)}.")
        maps = self.backbone(image)
        return maps[1], maps[2]

    def pool(self, maps: tuple[Tensor, Tensor]) -> Tensor:
        """The image's features ``(B, 864)``, as they are: mean and maximum over both maps."""
        return torch.cat([mean_and_maximum(maps[0]), mean_and_maximum(maps[1])], dim=1)

    def classify(self, features: Tensor) -> Tensor:
        """Raw logits from the image's features, which are standardized here."""
        return super().classify(self.dropout(self.standardize(features)))
