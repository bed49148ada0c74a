"""Memory that was freed goes back to the system, and the gradient is the same."""

from __future__ import annotations

import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_smia.inferers import CheckpointedSlidingWindowInferer, freed_memory
from monai_smia.inferers.freed_memory import FreedMemory
from monai_smia.inferers.windows import Windows

SCATTERED = """
import runpy, sys, torch
give_back = runpy.run_path(sys.argv[1])["give_back"]  # nothing else is imported
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
torch.ones(6 * 2**20)  # 24 MB, after which glibc holds what is smaller
kept, blocks = [], []
for _ in range(100):
    blocks.append(torch.ones(2**18))
    kept.append(torch.ones(2**10))  # live between every two of them, so that the library returns none by itself
before = resident()
del blocks
freed = resident()
give_back()
print(before - freed, freed - resident(), float(sum(part.sum() for part in kept)))
"""


@pytest.mark.skipif(freed_memory._TRIM is None, reason="the C library cannot be asked")
def test_a_scattered_heap_goes_back_to_the_system() -> None:
    command = [sys.executable, "-c", SCATTERED, freed_memory.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    by_itself, when_asked, kept = map(float, done.stdout.split())
    assert by_itself < 20, "the library returned it by itself: nothing is shown"
    assert when_asked > 80  # of 100 MB
    assert kept == 100 * 2**10


def test_it_is_asked_once_in_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(freed_memory, "give_back", lambda: asked.append(1))
    freed = FreedMemory(each=10)
    assert [freed.add(4) for _ in range(7)] == [False, False, True, False, False, True, False]
    assert len(asked) == 2


def gradient_of(image: Tensor, network: nn.Module) -> Tensor:
    leaf = image.clone().requires_grad_(True)
    inferer = CheckpointedSlidingWindowInferer((8, 8), overlap=0.5, sw_batch_size=1, mode="gaussian")
    inferer(leaf, network).square().sum().backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.fixture
def network() -> nn.Module:
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 1)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


@pytest.mark.parametrize(("each", "times"), [(8 * 8 * 4 * 4, 9), (2 * 8 * 8 * 4 * 4, 4), (1e9, 0)])
def test_a_window_counts_with_its_output(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch, each: float, times: int
) -> None:
    """Nine windows of one channel, and three of their outputs; the gradient is the same to the last bit."""
    image = torch.rand(1, 1, 16, 16)
    expected = gradient_of(image, network)
    asked: list[int] = []
    monkeypatch.setattr(freed_memory, "give_back", lambda: asked.append(1))
    monkeypatch.setattr(FreedMemory.__init__, "__defaults__", (each,))
    assert torch.equal(gradient_of(image, network), expected)
    assert len(asked) == times


def test_one_windows_graph_is_gone_before_the_next_is_made(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []
    again: Callable[..., Any] = Windows._again

    def watched(self: Windows, number: int, window: Tensor) -> Any:
        alive.append(sum(part() is not None for part in made))
        graph = again(self, number, window)
        made.extend(map(weakref.ref, (graph, *graph.parts)))
        return graph

    monkeypatch.setattr(Windows, "_again", watched)
    gradient_of(torch.rand(1, 1, 16, 16), network)
    assert alive == [0] * 9
