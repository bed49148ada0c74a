"""Networks that write into their input: the caller's image is protected, or they are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from detectors import cell_label, cells, colored
from helpers import ATTACKS
from monai.inferers import SlidingWindowInferer, SlidingWindowInfererAdapt
from torch import Tensor, nn

from monai_smia.attacks import PGD
from monai_smia.inferers import CheckpointedSlidingWindowInferer
from monai_smia.victims import SegmentationVictim


def subtract(x: Tensor) -> None:
    x -= 0.1


def behind_autograd(x: Tensor) -> None:
    x.data -= 0.1


def in_a_view(x: Tensor) -> None:
    x[:, :1].sub_(0.1)


class Writer(nn.Module):
    def __init__(self, write: Callable[[Tensor], None] = subtract) -> None:
        super().__init__()
        self.write = write
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        self.write(x)
        return self.conv(x)


def drawn() -> tuple[Tensor, Tensor]:
    image = torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    return image, (image[:, :1] > 0.5).long()


@pytest.mark.parametrize("write", [subtract, behind_autograd, in_a_view])
@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_inferred_twice_it_says_the_same(write: Callable[[Tensor], None], context: Any) -> None:
    (image, _), victim = drawn(), SegmentationVictim(Writer(write))
    before = image.clone()
    with context():
        first, second, third = (victim.infer(image) for _ in range(3))
    assert torch.equal(image, before)
    assert torch.equal(first, second)
    assert torch.equal(first, third)


@pytest.mark.parametrize("write", [subtract, behind_autograd])
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_keep_to_their_ball(name: str, write: Callable[[Tensor], None]) -> None:
    image, label = drawn()
    before, attack = image.clone(), ATTACKS[name]()
    result = attack(SegmentationVictim(Writer(write)), image, label)
    assert torch.equal(image, before)
    assert torch.equal(result.adversarial - before, result.perturbation)
    if attack.norm == "linf":
        assert float(result.perturbation.abs().max()) <= attack.eps + 1e-6  # type: ignore[operator]  # a number
    again = SegmentationVictim(Writer(write))
    assert torch.equal(again.damage(again.infer(result.adversarial), label).to(result.damage), result.damage)


@pytest.mark.parametrize(
    "inferer",
    [
        SlidingWindowInferer(4, 1, 0.5),
        SlidingWindowInferer(4, 2, 0.5),
        SlidingWindowInferer(12, 1),  # padded
        SlidingWindowInfererAdapt(4, 1, 0.5),
        CheckpointedSlidingWindowInferer(4, 1, 0.5, memory_limit=1e9),
    ],
    ids=["one", "two", "padded", "adapt", "kept"],
)
@pytest.mark.parametrize("write", [subtract, in_a_view])
def test_in_windows_it_is_refused(inferer: SlidingWindowInferer, write: Callable[[Tensor], None]) -> None:
    image, label = drawn()
    before = image.clone()
    for use in (lambda v: v.infer(image), lambda v: PGD(eps=0.1, steps=1)(v, image, label)):
        with pytest.raises(ValueError, match=r"the network.* writes into its input .* make it work on a copy"):
            use(SegmentationVictim(Writer(write), inferer=inferer))
        assert torch.equal(image, before)


def test_one_that_begins_to_write_later_is_refused() -> None:
    class Late(Writer):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x) if self.calls > 2 else self.conv(x)

    (image, _), victim = drawn(), SegmentationVictim(Late())
    assert torch.equal(victim.infer(image), victim.infer(image))
    with pytest.raises(ValueError, match="the network, Late, writes into its input"):
        victim.infer(image)


def test_of_a_detector() -> None:
    image, label = colored((0.9, 0.1, 0.1), (0.1, 0.7, 0.1)), [cell_label(0, 1)]
    victim = cells()
    forward = victim.network.forward
    victim.network.forward = lambda x: forward(x.sub_(0.01))  # type: ignore[method-assign]
    before = image.clone()
    first, second = (victim.infer(image)["classification"][0] for _ in range(2))
    assert torch.equal(first, second)
    PGD(eps=0.1, steps=2)(victim, image, label)
    assert torch.equal(image, before)
