from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_untouched, network, snapshot, unsettled
from monai.networks.nets import UNet
from torch import nn

from monai_smia.victims import SegmentationVictim


class TestFrozen:
    def test_eval_mode_and_no_parameter_gradients_inside(self) -> None:
        net = unsettled(network("segmentation", 2))
        before = snapshot(net)
        with SegmentationVictim(net).frozen():
            assert not any(m.training for m in net.modules())
            assert not any(p.requires_grad for p in net.parameters())
        assert_untouched(net, before)
        assert {m.training for m in net.modules()} == {True, False}

    def test_restored_after_an_exception(self) -> None:
        net = unsettled(network("segmentation", 2))
        before = snapshot(net)
        with pytest.raises(KeyError), SegmentationVictim(net).frozen():
            raise KeyError
        assert_untouched(net, before)

    def test_nests(self) -> None:
        net = unsettled(network("segmentation", 2))
        before, victim = snapshot(net), SegmentationVictim(net)
        with victim.frozen():
            with victim.frozen():
                pass
            assert not net.training
        assert_untouched(net, before)

    def test_a_shared_module(self) -> None:
        shared = nn.Dropout()
        net = nn.Sequential(shared, nn.Conv2d(1, 2, 1), shared).train()
        shared.eval()
        with SegmentationVictim(net).frozen():
            pass
        assert (net.training, shared.training) == (True, False)

    @pytest.mark.parametrize("slope", [0.25, -0.5, 0.0])
    def test_a_rectifier_of_one_slope_gives_the_same_without_its_slopes_gradient(self, slope: float) -> None:
        net = nn.Sequential(nn.PReLU(init=slope), nn.Conv2d(3, 3, 1), nn.PReLU(3), nn.Flatten())
        x = torch.randn(2, 3, 8, 8).where(torch.rand(2, 3, 8, 8) < 0.9, 0.0).requires_grad_(True)

        def gradient() -> tuple[torch.Tensor, torch.Tensor]:
            output = net(x)
            return output, torch.autograd.grad(output.square().sum(), x)[0]

        free = gradient()
        with SegmentationVictim(net).frozen():
            held = gradient()
            assert "LeakyReluBackward0" in _nodes(held[0])
        for a, b in zip(free, held, strict=True):
            assert torch.equal(a, b)
        assert "LeakyReluBackward0" not in _nodes(net(x))
        assert all("forward" not in vars(module) for module in net)

    @pytest.mark.parametrize("inplace", [False, True])
    def test_a_compiled_network_is_not_compiled_again(self, inplace: bool) -> None:
        compilations: list[int] = []

        def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
            compilations.append(1)
            return graph

        net = UNet(2, 1, 2, (2, 4), (2,)).eval().requires_grad_(False)
        if inplace:
            net.compile(backend=backend)
        victim = SegmentationVictim(net if inplace else torch.compile(net, backend=backend))
        for _ in range(2):
            with victim.frozen():
                victim.network(torch.rand(1, 1, 8, 8))
        assert len(compilations) == 1


def _nodes(output: torch.Tensor) -> set[str]:
    """Names of the operations that a graph holds."""
    found, nodes = set(), [output.grad_fn]
    while nodes:
        node = nodes.pop()
        found.add(type(node).__name__)
        nodes += [following for following, _ in node.next_functions if following is not None]
    return found
