from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from monai_smia.targets.fundus import GraphConvolution, ResNetGCN, normalized_adjacency

PATH = [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]


def small(**options: Any) -> ResNetGCN:
    torch.manual_seed(0)
    options = {"out_channels": 4, "layers": (1, 1, 1, 1), "widths": (4, 8, 8, 8), **options}
    return ResNetGCN(**options).eval()


def test_propagation_by_hand() -> None:
    """Three nodes in a row: with self loops their degrees are 2, 3, 2."""
    edge = 1 / math.sqrt(2 * 3)
    expected = torch.tensor([[1 / 2, edge, 0], [edge, 1 / 3, edge], [0, edge, 1 / 2]])
    propagation = normalized_adjacency(torch.tensor(PATH))
    torch.testing.assert_close(propagation, expected)

    layer = GraphConvolution(2, 1)
    layer.weight.data = torch.tensor([[1.0], [10.0]])
    nodes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])  # times the weight: 1, 10, 2
    by_hand = [[0.5 + 10 * edge], [1 * edge + 10 / 3 + 2 * edge], [10 * edge + 1.0]]
    torch.testing.assert_close(layer(nodes, propagation), torch.tensor(by_hand))


def test_weighted_adjacency_by_hand() -> None:
    propagation = normalized_adjacency(torch.tensor([[0.0, 3.0], [3.0, 0.0]]))
    torch.testing.assert_close(propagation, torch.tensor([[0.25, 0.75], [0.75, 0.25]]))


def test_classifier_is_two_graph_convolutions() -> None:
    network = small(out_channels=3, node_features=5, hidden_features=7)
    p = normalized_adjacency(torch.tensor(PATH)).numpy()
    x, w0, w1 = (t.detach().numpy() for t in (network.nodes, network.graph1.weight, network.graph2.weight))
    expected = p @ (p @ x @ w0).clip(0) @ w1
    torch.testing.assert_close(network.classifier(), torch.from_numpy(expected))


def test_neighbors_share_and_others_do_not() -> None:
    """Two graph convolutions reach two edges far: the last of four nodes does not hear of the first."""
    network = small()
    (gradient,) = torch.autograd.grad(network.classifier()[3].sum(), network.nodes)
    assert gradient.abs().sum(1).gt(0).tolist() == [False, True, True, True]
    alone = small(adjacency=torch.zeros(4, 4))
    (gradient,) = torch.autograd.grad(alone.classifier()[3].sum(), alone.nodes)
    assert gradient.abs().sum(1).gt(0).tolist() == [False, False, False, True]


def test_it_is_a_resnet_50() -> None:
    network = ResNetGCN(widths=(4, 8, 16, 32))
    convolutions = [m for m in network.backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) - 4 == 49  # four shortcuts apart; the classifier is the fiftieth layer


@pytest.mark.parametrize(("spatial_dims", "shape"), [(2, (2, 3, 40, 48)), (3, (2, 3, 32, 32, 40))])
def test_features_are_mean_and_maximum(spatial_dims: int, shape: tuple[int, ...]) -> None:
    network = small(spatial_dims=spatial_dims)
    image = torch.rand(shape)
    third, fourth = network.maps(image)
    assert third.shape[2:] == tuple(math.ceil(n / 16) for n in shape[2:])
    assert fourth.shape[2:] == tuple(math.ceil(n / 32) for n in shape[2:])
    pooled = torch.cat([fourth.flatten(2).mean(2), fourth.flatten(2).amax(2)], 1)
    expected = pooled @ network.classifier().T + network.bias
    torch.testing.assert_close(network(image), expected)
    assert expected.shape == (2, 4)


def test_torchscript_gives_the_same() -> None:
    network = small()
    image = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(torch.jit.script(network)(image), network(image))
    torch.testing.assert_close(torch.jit.trace(network, image)(image), network(image))


def test_every_parameter_gets_a_gradient() -> None:
    """DistributedDataParallel waits for parameters that take no part."""
    network = small().train()
    network(torch.rand(2, 3, 64, 64)).sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    assert "propagation" in network.state_dict()


@pytest.mark.parametrize(
    ("adjacency", "message"),
    [
        (torch.ones(2, 3), r"adjacency must be a square matrix, got shape \(2, 3\)"),
        (torch.tensor([[0.0, 1.0], [0.0, 0.0]]), "adjacency must be symmetric"),
        (torch.tensor([[0.0, -1.0], [-1.0, 0.0]]), "adjacency must hold finite weights >= 0"),
        (torch.tensor([[0.0, math.nan], [math.nan, 0.0]]), "adjacency must hold finite weights >= 0"),
    ],
)
def test_bad_adjacency(adjacency: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normalized_adjacency(adjacency)


def test_adjacency_of_another_size() -> None:
    with pytest.raises(ValueError, match="a row per output, out_channels=4, got 3 rows"):
        small(adjacency=PATH)
