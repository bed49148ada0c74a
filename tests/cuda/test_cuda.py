"""What a CUDA device computes is what the CPU computes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from helpers import ATTACKS, SUITABLE, case
from monai.networks.nets import UNet
from shifts.test_every_shift import EVERY, IDS, channels, inner, meta, phantom
from window_helpers import Net, draw_setting, gradient, rand, relative_error

from monai_smia.attacks import PGD
from monai_smia.inferers import CheckpointedSlidingWindowInferer, point_windows
from monai_smia.shifts import Shift
from monai_smia.victims import SegmentationVictim, Victim

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def moved(victim: Victim) -> Victim:
    """The same victim on the device."""
    other = copy.copy(victim)
    other.network = copy.deepcopy(victim.network).to(DEVICE)
    return other


@pytest.mark.parametrize(("name", "task", "dims"), SUITABLE)
def test_every_attack_gives_what_it_gives_on_the_cpu(name: str, task: str, dims: int) -> None:
    """In float64, random draws included."""
    found = case(task, dims, dtype=torch.float64)
    here = ATTACKS[name](progress=False)(found.victim, found.image, found.label)
    there = ATTACKS[name](progress=False)(moved(found.victim), found.image.to(DEVICE), found.label.to(DEVICE))
    assert there.adversarial.device.type == DEVICE
    assert torch.allclose(there.adversarial.to("cpu"), here.adversarial, rtol=0, atol=1e-9)
    assert torch.allclose(there.damage.to("cpu"), here.damage, rtol=0, atol=1e-9)
    assert there.gradients.tolist() == here.gradients.tolist()


@pytest.mark.parametrize(("kind", "dims"), EVERY, ids=IDS)
def test_every_shift_gives_what_it_gives_on_the_cpu(kind: type[Shift], dims: int) -> None:
    image = meta(phantom(dims, channels=channels(kind)))
    values = inner(kind(), dims)
    there = kind()(image.to(DEVICE), values.to(DEVICE))
    assert there.device.type == DEVICE
    assert torch.allclose(there.to("cpu"), kind()(image, values), rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_gradient_through_windows_is_the_cpus(seed: int, share: float) -> None:
    setting = draw_setting(seed)
    inferer = CheckpointedSlidingWindowInferer(**setting["inferer"], memory_limit=share * 1e6)
    image, network = rand(*setting["shape"]), Net(setting["dims"], setting["answer"])
    extra, options = setting["args"], {**setting["kwargs"], "unused": setting["unused"]}
    here = gradient(inferer, image, network, *extra, **options)
    there = gradient(inferer, image.to(DEVICE), copy.deepcopy(network).to(DEVICE), *extra, **options)
    assert relative_error(there.to("cpu"), here) < 1e-10


def test_the_windows_around_points_are_the_cpus() -> None:
    found = []
    for device in ("cpu", DEVICE):
        image, network = rand(1, 2, 14, 13, 12).to(device).requires_grad_(True), Net(3).to(device)
        points = torch.tensor([[[5, 5, 5], [7, 6, 5]]], device=device)
        logits = point_windows(
            image, (6, 6, 6), lambda w, net=network, **_: net(w), points, torch.ones_like(points[..., 0])
        )
        assert logits.device.type == device
        (pulled,) = torch.autograd.grad(logits.square().sum(), image)
        found.append((logits.detach().to("cpu"), pulled.to("cpu")))
    for here, there in zip(*found, strict=True):
        assert relative_error(there, here) < 1e-10


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_lower_precision_keeps_the_radius_and_does_the_damage(precision: Any, channels_last: bool) -> None:
    torch.manual_seed(0)
    victim = SegmentationVictim(UNet(3, 1, 2, (8, 16), (2,), norm="batch").eval().to(DEVICE))
    image = torch.rand(1, 1, 32, 32, 32).to(DEVICE)
    label = victim.decide(victim.infer(image))
    exact = PGD(eps=0.03, steps=10, progress=False)(victim, image, label)
    attack = PGD(eps=0.03, steps=10, progress=False, autocast=precision, channels_last=channels_last)
    found = attack(victim, image, label)
    assert found.perturbation.abs().max() <= 0.03 + 1e-6
    assert torch.allclose(found.damage, exact.damage, atol=0.02)
