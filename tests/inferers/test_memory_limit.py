"""Graphs kept within a memory limit: the same gradient, less work, and no more memory than was given."""

from __future__ import annotations

import gc

import pytest
import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn
from window_helpers import (
    Counting,
    Net,
    by_autograd,
    draw_setting,
    gradient,
    loss_of,
    rand,
    relative_error,
    tensors,
)

from monai_smia.attacks import BIM, SMIA
from monai_smia.inferers import CheckpointedSlidingWindowInferer
from monai_smia.inferers.kept_graphs import MeasuredGraph
from monai_smia.victims import SegmentationVictim

INFINITE = float("inf")


def graph_bytes(net: nn.Module, window: Tensor) -> float:
    """What a batch of windows keeps, its output included; the window itself is a view of the image."""
    leaf = window.clone().requires_grad_(True)
    with MeasuredGraph([*net.parameters(), leaf]) as graph:
        output = net(leaf)
    return graph.size + sum(part.numel() * part.element_size() for part in tensors(output))


@pytest.mark.parametrize("seed", range(24))
def test_gradient_and_output_are_those_of_monai_for_every_limit(seed: int) -> None:
    setting = draw_setting(seed)
    image, net = rand(*setting["shape"]), Net(setting["dims"], setting["answer"])
    args, kwargs = setting["args"], setting["kwargs"]
    y = image.clone().requires_grad_(True)
    expected = by_autograd(SlidingWindowInferer(**setting["inferer"]), y, lambda w, *a: net(w, *a, *args, **kwargs))
    (wanted,) = torch.autograd.grad(loss_of(expected, setting["unused"]), y)
    for limit in (1, 20_000, 100_000, INFINITE):
        ours = CheckpointedSlidingWindowInferer(**setting["inferer"], memory_limit=limit)
        x = image.clone().requires_grad_(True)
        output = ours(x, net, *args, **kwargs)
        assert ours.memory.held <= limit
        for a, b in zip(tensors(output), tensors(expected), strict=True):
            assert torch.equal(a, b)
        (got,) = torch.autograd.grad(loss_of(output, setting["unused"]), x)
        assert relative_error(got, wanted) < 1e-12
        del output
        assert ours.memory.held == 0
        assert torch.equal(x.detach(), image)


@pytest.mark.parametrize("kept", [0, 1, 3, 7, 100])
def test_as_many_windows_are_kept_as_fit(kept: int) -> None:
    """Each of the seven windows is run once where it is kept and twice where it is not."""
    net, calls = Net(2), []
    x = rand(1, 2, 32, 8).requires_grad_(True)
    size = graph_bytes(net, rand(1, 2, 32, 8)[:, :, :8])
    ours = CheckpointedSlidingWindowInferer(8, overlap=0.5, memory_limit=kept * size + 1 if kept else 0)
    net.register_forward_hook(lambda *_: calls.append(1))
    output = ours(x, net)
    assert len(calls) == 7
    assert ours.memory.held == pytest.approx(min(kept, 7) * size)
    output.sum().backward()
    assert len(calls) == 7 + max(7 - kept, 0)


def peak(limit: float, length: int) -> int:
    net = Counting()
    x = rand(1, 2, length, 8, 8).requires_grad_(True)
    CheckpointedSlidingWindowInferer(8, overlap=0.5, memory_limit=limit)(x, net).sum().backward()
    return net.peak


def test_memory_stays_within_the_limit_whatever_the_number_of_windows() -> None:
    flat, window = peak(0, 16), graph_bytes(Counting(), rand(1, 2, 16, 8, 8)[:, :, :8])
    for length in (64, 128):
        for kept in (3, 10):
            assert kept * flat <= peak(kept * window + 1, length) <= (kept + 1) * flat  # and the one that is run again
    assert peak(INFINITE, 128) >= 30 * flat  # of 31 windows; the measured one's activation is known by another name


def test_two_predictions_share_one_limit() -> None:
    """SMIA holds the graphs of two at a time."""
    net = Net(2)
    size = graph_bytes(net, rand(1, 2, 32, 8)[:, :, :8])
    ours = CheckpointedSlidingWindowInferer(8, overlap=0.5, memory_limit=9 * size + 1)
    x = rand(1, 2, 32, 8).requires_grad_(True)
    first, second = ours(x, net), ours(x * 0.5, net)
    assert ours.memory.held == pytest.approx(9 * size)  # seven of the first, two of the second
    (got,) = torch.autograd.grad(loss_of(first) + loss_of(second), x)
    wanted = gradient(SlidingWindowInferer(8, overlap=0.5), x.detach(), net)
    y = x.detach() * 0.5
    wanted = wanted + 0.5 * gradient(SlidingWindowInferer(8, overlap=0.5), y, net)
    assert relative_error(got, wanted) < 1e-12
    assert ours.memory.held == 0


def test_a_prediction_that_is_thrown_away_gives_its_memory_back() -> None:
    ours = CheckpointedSlidingWindowInferer(6, overlap=0.5, memory_limit=INFINITE)
    output = ours(rand(1, 2, 16, 16).requires_grad_(True), Net(2))
    assert ours.memory.held > 0
    del output
    gc.collect()
    assert ours.memory.held == 0


def test_a_second_backward_pass_runs_the_windows_again() -> None:
    net = Net(2)
    x = rand(1, 2, 20, 8).requires_grad_(True)
    loss = loss_of(CheckpointedSlidingWindowInferer(8, overlap=0.5, memory_limit=INFINITE)(x, net))
    first, second = (torch.autograd.grad(loss, x, retain_graph=True)[0] for _ in range(2))
    assert relative_error(second, first) < 1e-14


@pytest.mark.parametrize("wrap", ["module", "list"])
def test_hidden_parameters_still_get_their_gradients(wrap: str) -> None:
    image, net = rand(2, 2, 10, 9).requires_grad_(True), Net(2).requires_grad_(True)
    hidden = [net]
    network = net if wrap == "module" else lambda w: hidden[0](w)
    inputs = [*net.parameters(), image]
    ours = CheckpointedSlidingWindowInferer(6, 2, overlap=0.5, memory_limit=INFINITE)
    got = torch.autograd.grad(loss_of(ours(image, network)), inputs)
    wanted = torch.autograd.grad(loss_of(by_autograd(SlidingWindowInferer(6, 2, overlap=0.5), image, net)), inputs)
    for a, b in zip(got, wanted, strict=True):
        assert relative_error(a, b) < 1e-12


def test_a_network_that_works_in_place_on_its_input_is_told_apart() -> None:
    """It would change the windows beside it: an error, with a gradient or without, not a wrong one."""
    for limit in (0, INFINITE):
        ours = CheckpointedSlidingWindowInferer(8, overlap=0.5, memory_limit=limit)
        for x in (rand(1, 2, 16, 8).requires_grad_(True), rand(1, 2, 16, 8)):
            with pytest.raises(ValueError, match=r"writes into its input .* would change the windows beside it"):
                ours(x, lambda window: window.mul_(2))


@pytest.mark.parametrize("attack", [BIM(eps=0.05, steps=3), SMIA(eps=0.05, steps=3)])
def test_attacks_find_the_same_images(attack: BIM) -> None:
    net = Net(2)
    image, label = rand(1, 2, 16, 12), (rand(1, 1, 16, 12) > 0.5).long()
    results = []
    for limit in (0, 5_000, INFINITE):
        inferer = CheckpointedSlidingWindowInferer(6, overlap=0.5, mode="gaussian", memory_limit=limit)
        results.append(attack(SegmentationVictim(net, inferer=inferer), image, label).adversarial)
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(results[2], results[0], rtol=1e-12, atol=1e-12)


def test_bad_limit() -> None:
    for limit in (-1, float("nan")):
        with pytest.raises(ValueError, match="memory_limit must be a number of bytes >= 0"):
            CheckpointedSlidingWindowInferer(8, memory_limit=limit)
    kept = CheckpointedSlidingWindowInferer.of(SlidingWindowInferer(8), memory_limit=1e9)
    assert kept.memory.limit == 1e9
