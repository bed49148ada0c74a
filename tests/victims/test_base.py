from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from helpers import assert_untouched, case, network, snapshot, unsettled
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from torch import nn

from monai_smia.attacks import PGD
from monai_smia.victims import ClassificationVictim, SegmentationVictim


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


def test_looks_through_distributed_data_parallel() -> None:
    net = network("classification", 2)
    wrapped = nn.parallel.DistributedDataParallel.__new__(nn.parallel.DistributedDataParallel)
    nn.Module.__init__(wrapped)
    wrapped.module = net
    assert ClassificationVictim(wrapped).network is net


def test_copies_with_another_loss_share_the_network() -> None:
    c = case("classification", 2)
    other = c.victim.with_loss("margin").with_divergence("kl")
    prediction = c.victim.predict(c.image).detach()
    assert other.network is c.victim.network
    assert not torch.equal(other.loss(prediction, c.label), c.victim.loss(prediction, c.label))
    assert not torch.equal(other.divergence(prediction, prediction), c.victim.divergence(prediction, prediction))
    again = copy.copy(c.victim)
    assert torch.equal(again.loss(prediction, c.label), c.victim.loss(prediction, c.label))


@pytest.mark.parametrize("victim", [ClassificationVictim, SegmentationVictim])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hinge"}, r"loss must be one of \[.*'cross_entropy', .* got 'hinge'"),
        ({"loss": 3}, "loss must be one of .* or a callable, got 3"),
        ({"divergence": "js"}, r"divergence must be one of \['cross_entropy', 'kl', 'reverse_kl'\].* got 'js'"),
        ({"activation": "relu"}, "activation must be one of .* got 'relu'"),
    ],
)
def test_bad_arguments(victim: type, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        victim(nn.Identity(), **options)


def test_infer_is_the_network_in_eval_mode() -> None:
    c = case("segmentation", 2)
    expected = c.victim.network(c.image).detach()
    net = unsettled(c.victim.network)
    before = snapshot(net)
    got = c.victim.infer(c.image)
    assert torch.equal(got, expected)
    assert not got.requires_grad
    assert_untouched(net, before)


def test_intensity_scale_without_preprocessing() -> None:
    assert case("segmentation", 2).victim.intensity_scale() == 1.0


@pytest.mark.parametrize("inferer", [None, SlidingWindowInferer(6, overlap=0.5)])
def test_a_compiled_network_is_a_victim_like_any_other(inferer: SlidingWindowInferer | None) -> None:
    """With the backend that changes nothing the attack is the same bit for bit; the network comes back untouched."""
    c = case("segmentation", 2, inferer=inferer)
    attack = PGD(eps=0.05, steps=3)
    expected = attack(c.victim, c.image, c.label)
    compiled = torch.compile(unsettled(c.victim.network), backend="eager")
    before = snapshot(c.victim.network)
    result = attack(SegmentationVictim(compiled, inferer=inferer), c.image, c.label)
    assert_untouched(c.victim.network, before)
    assert torch.equal(result.adversarial, expected.adversarial)
