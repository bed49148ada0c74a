"""The readings of Eq. 3 and 4: the first step that the stabilization term moves, by a loop of its own."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from monai_smia.attacks import READINGS, SMIA, Reading
from monai_smia.attacks.reading import DIVERGENCES, OFFSETS, TARGETS
from monai_smia.degradations.smoothing import gaussian_taps, smooth
from monai_smia.victims import ClassificationVictim

EPS = 0.05
X = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.tensor([0, 1, 2])


EVERY = [
    Reading(target, offset, divergence)
    for target in TARGETS
    for offset in OFFSETS
    for divergence in (DIVERGENCES if target != "hard" else (None,))
]


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = (torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(256, 3))
    net = torch.nn.Sequential(*layers).double().requires_grad_(False)
    for parameter in net.parameters():
        parameter.mul_(4)  # far from linear, so that the readings differ
    return net


def distance(reading: Reading, scores: Tensor, other: Tensor) -> Tensor:
    if reading.target == "hard":
        return F.cross_entropy(scores, other.argmax(1), reduction="sum")
    other = other.detach() if reading.target == "detached" else other
    p, q = scores.log_softmax(1), other.log_softmax(1)
    if reading.divergence == "kl":
        return (p.exp() * (p - q)).sum()
    return (q.exp() * (q - p)).sum() if reading.divergence == "reverse_kl" else -(q.exp() * p).sum()


def gradient(reading: Reading, adversarial: Tensor, last: Tensor, alpha: float = 1.0) -> Tensor:
    """Of Eq. 4 in one reading."""
    net, point = network(), adversarial.detach().requires_grad_()
    scores = net(point)
    objective = F.cross_entropy(scores, Y, reduction="sum")
    if alpha:
        eta, taps = point - X, gaussian_taps(2, 1.0)
        if reading.offset == "constant":
            smoothed = point + smooth(eta.detach(), taps) - eta.detach()
        elif reading.offset == "step":
            smoothed = (adversarial - last) + smooth(last, taps)
        else:
            smoothed = X + smooth(eta, taps)
        objective = objective - alpha * distance(reading, scores, net(smoothed))
    (found,) = torch.autograd.grad(objective, point)
    return found


def loop(reading: Reading) -> Tensor:
    """Eq. 1, then Eq. 4, without a ball."""
    adversarial, last = X, torch.zeros_like(X)
    for step in range(3):
        last = EPS * gradient(reading, adversarial, last, alpha=float(step > 0)).sign()
        adversarial = adversarial + last
    return adversarial


@pytest.mark.parametrize("reading", EVERY, ids=lambda reading: reading.name)
def test_each_reading_is_what_its_name_says(reading: Reading) -> None:
    options: Any = {"eps": 1.0, "steps": 3, "step_size": EPS, "clip": None, "keep": "last", "progress": False}
    found = SMIA(**options, **reading.arguments)(ClassificationVictim(network()), X, Y).adversarial
    assert (found - loop(reading)).abs().max() < 1e-12


def test_those_that_are_left_out_are_the_same_as_one_that_is_there() -> None:
    """Of 21 combinations 12 differ with a cross entropy; a detector's own loss is none, so that 14 are named."""
    last = EPS * torch.randn(X.shape, generator=torch.Generator().manual_seed(2), dtype=X.dtype)
    ends = {reading: gradient(reading, X + 3 * last, last) for reading in EVERY}
    for reading in set(EVERY) - set(READINGS):
        target = "detached" if reading.target == "soft" else reading.target  # soft and the last step
        offset = "total" if reading.offset == "constant" else reading.offset
        twin = Reading(target, offset, reading.divergence)
        assert twin in READINGS
        assert (ends[reading] - ends[twin]).abs().max() < 1e-12, reading.name
    pairs = [(a.name, b.name) for a, b in combinations(READINGS, 2) if (ends[a] - ends[b]).abs().max() < 1e-12]
    assert pairs == [
        *((f"detached, {offset}, loss", f"detached, {offset}, reverse_kl") for offset in ("total", "step")),
        ("hard, total, loss", "hard, step, loss"),  # both smoothed points are decided alike here
    ]


@pytest.mark.parametrize("arguments", [("firm",), ("soft", "half"), ("soft", "total", "js"), ("hard", "total", "kl")])
def test_what_is_no_reading(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Reading(*arguments)


def test_names() -> None:
    assert len({reading.name for reading in READINGS}) == len(READINGS) == 14
    assert [Reading.named(reading.name) for reading in EVERY] == EVERY
    assert Reading.named(" hard,step , loss") == Reading("hard", "step")
