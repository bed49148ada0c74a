from __future__ import annotations

from threading import Event, Thread
from typing import Any

import pytest
import torch
from helpers import assert_untouched, case, network, snapshot, unsettled
from monai.networks.nets import UNet
from torch import nn

from monai_smia.attacks import BIM, PGD
from monai_smia.victims import SegmentationVictim
from monai_smia.victims.frozen_network import frozen_network


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


class TestUsers:
    """A network is still until its last user has left it, in whichever thread."""

    def test_two_contexts_that_overlap(self) -> None:
        net = nn.BatchNorm1d(1)
        first, second = frozen_network(net), frozen_network(net)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert not net.training
        assert not net.weight.requires_grad
        net(torch.full((8, 1), 5.0))
        assert float(net.running_mean) == 0
        second.__exit__(None, None, None)
        assert net.training
        assert net.weight.requires_grad

    def test_networks_that_share_a_part(self) -> None:
        """As the network of a victim and the one in lower precision around it."""
        shared = nn.Sequential(nn.BatchNorm1d(1), nn.PReLU())
        inner, outer = frozen_network(shared), frozen_network(nn.Sequential(shared, nn.Dropout()))
        inner.__enter__()
        outer.__enter__()
        inner.__exit__(None, None, None)
        assert not shared.training
        assert "forward" in vars(shared[1])
        outer.__exit__(None, None, None)
        assert shared.training
        assert "forward" not in vars(shared[1])

    def test_after_an_exception_of_one_of_them(self) -> None:
        net = unsettled(network("segmentation", 2))
        before = snapshot(net)
        with frozen_network(net):
            with pytest.raises(KeyError), frozen_network(net):
                raise KeyError
            assert not any(module.training for module in net.modules())
        assert_untouched(net, before)

    def test_an_attack_beside_a_loader_that_infers(self) -> None:
        """The overlay's own way: the next case's label is inferred in a thread while this one is attacked."""
        c = case("segmentation", 2)
        expected = PGD(eps=0.05, steps=30)(c.victim, c.image, c.label)
        net = unsettled(c.victim.network)
        before, clean = snapshot(net), c.victim.infer(c.image)
        stop, inferred = Event(), []

        def load() -> None:
            while not stop.is_set():
                inferred.append(torch.equal(c.victim.infer(c.image), clean))

        loader = Thread(target=load)
        loader.start()
        try:
            results = [PGD(eps=0.05, steps=30)(c.victim, c.image, c.label) for _ in range(5)]
        finally:
            stop.set()
            loader.join()
        assert len(inferred) > 5
        assert all(inferred)
        for result in results:
            assert torch.equal(result.adversarial, expected.adversarial)
            assert torch.equal(result.damage, expected.damage)
        assert_untouched(net, before)


class Listed(nn.Module):
    """Keeps its branches where `nn.Module.eval` does not find them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        branch = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Conv2d(2, 3, 1))
        self.kept: Any = {"list": [branch], "tuple": (branch,), "dictionary": {"a": [branch, self]}}[kind]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.branch(image)

    @property
    def branch(self) -> nn.Module:
        return self.kept["a"][0] if isinstance(self.kept, dict) else self.kept[0]


@pytest.mark.parametrize("kind", ["list", "tuple", "dictionary"])
def test_modules_in_plain_lists_are_held_as_well(kind: str) -> None:
    """They stayed in train mode, and their statistics moved."""
    net = Listed(kind)
    before = snapshot(net.branch)
    victim = SegmentationVictim(net)
    image = torch.rand(2, 2, 6, 6)
    with victim.frozen():
        assert not any(module.training for module in net.branch.modules())
        assert not any(parameter.requires_grad for parameter in net.branch.parameters())
    assert torch.equal(victim.infer(image), victim.infer(image))
    BIM(eps=0.1, steps=2)(victim, image, torch.ones(2, 1, 6, 6).long())
    assert net.branch.training
    assert_untouched(net.branch, before)


@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "in another"])
@pytest.mark.parametrize("kind", ["scripted", "traced", "frozen", "exported"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_programs_are_attacked_as_the_network_that_they_were(kind: str, wrapped: bool) -> None:
    """Frozen TorchScript has no mode, and a program of torch.export refuses `eval`."""
    plain, image = nn.Conv2d(1, 2, 3, padding=1).eval(), torch.rand(1, 1, 6, 6, generator=torch.manual_seed(0))
    made = {
        "scripted": lambda: torch.jit.script(plain),
        "traced": lambda: torch.jit.trace(plain, image),
        "frozen": lambda: torch.jit.freeze(torch.jit.script(plain)),
        "exported": lambda: torch.export.export(plain, (image,)).module(),
    }[kind]()
    attack, label = BIM(eps=0.1, steps=2), (image > 0.5).long()
    results = [
        attack(SegmentationVictim(net), image, label) for net in (plain, nn.Sequential(made) if wrapped else made)
    ]
    torch.testing.assert_close(results[1].adversarial, results[0].adversarial)
