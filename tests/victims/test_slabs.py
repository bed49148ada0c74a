"""Losses of large predictions: slab by slab, with the value and the gradient that they have as a whole."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn

from monai_smia.inferers import freed_memory
from monai_smia.inferers.freed_memory import FreedMemory
from monai_smia.victims import SegmentationVictim, slabs

LOSSES = (
    "cross_entropy",
    "soft_jaccard",
    "sharp_jaccard",
    "masked_cross_entropy",
    "balanced_cross_entropy",
    "jensen_shannon",
    "margin",
    "volume_up",  # no sum of this kind: as it is
)
WINDOWS = {
    "whole": None,
    "windows": SlidingWindowInferer((6, 5, 6), sw_batch_size=3, overlap=0.5, mode="gaussian"),
    "padded": SlidingWindowInferer((12, 5, 6), overlap=0.25),
}


def case(activation: str, ignored: bool) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv3d(4, 5, 3, padding=1)).double().eval()
    image = torch.rand(2, 1, 11, 8, 9, dtype=torch.float64)
    label = torch.randint(0, 5, (2, 1, 11, 8, 9)) if activation == "softmax" else torch.randint(0, 2, (2, 5, 11, 8, 9))
    if ignored:
        label[0, ..., :3] = 9
    return network, image, label


def loss_and_gradient(victim: SegmentationVictim, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    point = image.clone().requires_grad_(True)
    with victim.frozen():
        loss = victim.loss(victim.predict(point), label)
        weighed = (loss * torch.tensor([1.0, -0.3], dtype=loss.dtype)).sum()
        return loss.detach(), torch.autograd.grad(weighed, point)[0]


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("loss", LOSSES)
def test_value_and_gradient_are_those_of_the_whole(
    loss: str, windows: str, activation: str, ignored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, image, label = case(activation, ignored)
    options = {"activation": activation, "ignore_index": 9 if ignored else None, "loss": loss}
    victim = SegmentationVictim(network, inferer=WINDOWS[windows], **options)
    expected = loss_and_gradient(victim, image, label)
    monkeypatch.setattr(slabs, "LARGE", 0)
    monkeypatch.setattr(slabs, "SLAB", 5 * 8 * 9 * 8 * 2)  # two rows of the whole, three or more of a window
    found = loss_and_gradient(victim, image, label)
    for here, there in zip(found, expected, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-10)


def test_no_gradient_of_the_whole_prediction_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slabs, "LARGE", 0)
    network, image, label = case("softmax", False)
    victim = SegmentationVictim(network, inferer=WINDOWS["windows"], loss="soft_jaccard")
    asked: list[tuple[int, ...]] = []
    at = slabs._Gradient.__getitem__
    monkeypatch.setattr(slabs._Gradient, "__getitem__", lambda self, p: asked.append(at(self, p).shape) or at(self, p))
    loss_and_gradient(victim, image, label)
    assert set(asked) == {(1, 5, 6, 5, 6)}
    assert len(asked) == 2 * 3 * 3 * 2  # every window of both samples, once


def test_samples_whose_loss_has_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """All voxels of a sample lost: the masked loss is zero there, and so is its gradient."""
    monkeypatch.setattr(slabs, "LARGE", 0)
    network, image, _ = case("softmax", False)
    victim = SegmentationVictim(network, inferer=WINDOWS["windows"], loss="masked_cross_entropy")
    decided = victim.decide(victim.infer(image))
    label = decided.clone()
    label[0] = (decided[0] + 1) % 5
    loss, gradient = loss_and_gradient(victim, image, label)
    assert float(loss[0]) == 0 == float(gradient[0].abs().max())
    assert float(gradient[1].abs().max()) > 0


def test_freed_memory_is_given_back_between_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second one of the eight rows that a slab holds here; value and gradient are the same to the last bit."""
    monkeypatch.setattr(slabs, "LARGE", 0)
    monkeypatch.setattr(slabs, "SLAB", 1)
    victim = SegmentationVictim(nn.Identity())
    logits, label = torch.rand(1, 3, 8, 4, requires_grad=True), torch.randint(0, 3, (1, 1, 8, 4))
    expected = victim.loss(logits, label)
    asked: list[int] = []
    monkeypatch.setattr(freed_memory, "give_back", lambda: asked.append(1))
    monkeypatch.setattr(FreedMemory.__init__, "__defaults__", (2 * 3 * 4 * 4,))
    found = victim.loss(logits, label)
    assert len(asked) == 4
    assert torch.equal(found, expected)
    assert torch.equal(*(torch.autograd.grad(loss, logits)[0] for loss in (found, expected)))
