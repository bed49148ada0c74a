"""A classifier that is made by a graph convolutional network over the outputs."""

# no `from __future__ import annotations`: TorchScript reads the type of the buffer, and cannot read it as a string
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def normalized_adjacency(adjacency: Tensor) -> Tensor:
    """The propagation matrix of Kipf & Welling (2017, Eq. 2): D^-1/2 (A + I) D^-1/2, D the degrees of A + I.

    Args:
        adjacency: ``(N, N)``, symmetric, weights >= 0; what is on its diagonal counts on top of the self loops.

    Returns:
        ``(N, N)`` float32.

    Raises:
        ValueError: if the matrix is not square, not symmetric, or holds a negative or infinite weight.

    Example:
        >>> normalized_adjacency(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
        raise ValueError(f"adjacency must be a square matrix, got shape {tuple(adjacency.shape)}.")
    adjacency = adjacency.to(torch.float32)
    if not bool(adjacency.isfinite().all()) or bool((adjacency < 0).any()):
        raise ValueError(f"adjacency must hold finite weights >= 0, got {adjacency.tolist()}.")
    if not torch.equal(adjacency, adjacency.T):
        raise ValueError("adjacency must be symmetric: the propagation rule is that of an undirected graph.")
    looped = adjacency + torch.eye(len(adjacency))
    scale = looped.sum(1).rsqrt()
    return scale[:, None] * looped * scale[None, :]


class GraphConvolution(nn.Module):
    """One layer of a graph convolutional network (Kipf & Welling, 2017, Eq. 2) without its activation: P X W.

    Args:
        in_features: length of a node's embedding.
        out_features: length of its new embedding.

    Example:
        >>> layer = GraphConvolution(4, 2)
        >>> layer(torch.rand(3, 4), normalized_adjacency(torch.ones(3, 3))).shape
        torch.Size([3, 2])
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, nodes: Tensor, propagation: Tensor) -> Tensor:
        """New embeddings ``(N, out_features)`` of nodes ``(N, in_features)`` under a propagation matrix ``(N, N)``."""
        return propagation @ (nodes @ self.weight)


def mean_and_maximum(maps: Tensor) -> Tensor:
    """Over the places of every map: ``(B, 2 * channels)`` from ``(B, channels, *spatial)``."""
    flat = maps.flatten(2)
    return torch.cat([flat.mean(2), flat.amax(2)], dim=1)


class GraphClassified(nn.Module):
    """A backbone whose classifier is made by a graph convolutional network over the outputs; a subclass has its `maps`.

    The graph's nodes are the outputs: the grades, or the thresholds between grades of an ordinal grader. Each has a
    learned embedding; two graph convolutions spread the embeddings to neighbors and turn each into the weights that
    this output gives to the image's features. Neighbouring grades so share what they look for, and a rare grade learns
    from its neighbors. Once trained, the graph's part does not depend on the image.

    The image's features are the mean and the maximum over the last feature map: how much there is, and whether there
    is any. A subclass may take others by a `pool` of its own.

    Args:
        backbone: what the subclass takes its maps from.
        channels: of the maps at 1/16 and at 1/32 of the image.
        features: how many of the image there are; by default those of `pool` here.
        out_channels: raw logits, K classes or the K - 1 thresholds of an ordinal grader.
        adjacency: ``(out_channels, out_channels)``, which outputs are neighbors, without self loops; by default
            consecutive ones.
        node_features: length of a node's embedding.
        hidden_features: length of the embedding between the two graph convolutions.

    Raises:
        ValueError: if the adjacency does not fit, see `normalized_adjacency`.
    """

    propagation: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        channels: tuple[int, int],
        *,
        features: int | None = None,
        out_channels: int,
        adjacency: Sequence[Sequence[float]] | Tensor | None,
        node_features: int,
        hidden_features: int,
    ) -> None:
        super().__init__()
        if adjacency is None:
            adjacency = torch.diag(torch.ones(out_channels - 1), 1)
            adjacency = adjacency + adjacency.T
        propagation = normalized_adjacency(torch.as_tensor(adjacency))
        if len(propagation) != out_channels:
            raise ValueError(
                f"adjacency must have a row per output, out_channels={out_channels}, got {len(propagation)} rows."
            )
        self.register_buffer("propagation", propagation)
        self.backbone = backbone
        self.channels = channels
        self.features = features or 2 * channels[1]
        self.nodes = nn.Parameter(torch.randn(out_channels, node_features))
        self.graph1 = GraphConvolution(node_features, hidden_features)
        self.graph2 = GraphConvolution(hidden_features, self.features)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        with torch.no_grad():
            self.graph2.weight.mul_(0.2)  # the sum over thousands of features then starts near one

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The feature maps at 1/16 and at 1/32 of the image."""
        raise NotImplementedError

    def classifier(self) -> Tensor:
        """The weights of the image's features in every output ``(out_channels, features)``."""
        hidden = torch.relu(self.graph1(self.nodes, self.propagation))
        return self.graph2(hidden, self.propagation)

    def pool(self, maps: tuple[Tensor, Tensor]) -> Tensor:
        """The image's features ``(B, features)``: mean and maximum over the last feature map."""
        return mean_and_maximum(maps[1])

    def classify(self, features: Tensor) -> Tensor:
        """Raw logits from the image's features."""
        return features @ self.classifier().T + self.bias

    def forward(self, image: Tensor) -> Tensor:
        """Raw logits ``(B, out_channels)`` of images ``(B, in_channels, *spatial)``."""
        return self.classify(self.pool(self.maps(image)))
