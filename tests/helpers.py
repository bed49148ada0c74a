"""Tiny seeded networks and cases, and what the tests compare them with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from monai.networks.layers.factories import Conv, Norm
from monai.networks.utils import one_hot
from torch import Tensor, nn

from monai_smia.attacks import (
    APGD,
    BIM,
    DIFGSM,
    FGSM,
    FMN,
    MIFGSM,
    PGD,
    SEA_SCHEDULE,
    SMIA,
    VAFA,
    Attack,
    CosPGD,
    DecisionSearch,
    Ensemble,
    LowFrequency,
    Noise,
    RayS,
    SegPGD,
    Square,
    SurvivalSMIA,
)
from monai_smia.victims import ClassificationVictim, SegmentationVictim, Victim

KINDS = [("classification", 2), ("classification", 3), ("segmentation", 2), ("segmentation", 3)]

ATTACKS: dict[str, Callable[..., Attack]] = {
    "fgsm": lambda **o: FGSM(eps=0.05, **o),
    "bim": lambda **o: BIM(eps=0.05, steps=4, **o),
    "bim-l2": lambda **o: BIM(eps=0.5, norm="l2", steps=4, **o),
    "mifgsm": lambda **o: MIFGSM(eps=0.05, steps=4, **o),
    "difgsm": lambda **o: DIFGSM(eps=0.05, steps=4, **o),
    "pgd": lambda **o: PGD(eps=0.05, steps=4, **o),
    "pgd-restarts": lambda **o: PGD(eps=0.5, norm="l2", steps=3, restarts=2, **o),
    "smia": lambda **o: SMIA(eps=0.05, steps=4, **o),
    "smia-l2": lambda **o: SMIA(eps=0.5, norm="l2", steps=4, **o),
    "noise": lambda **o: Noise(eps=0.05, **o),
    "noise-l2": lambda **o: Noise(eps=0.5, norm="l2", **o),
    "segpgd": lambda **o: SegPGD(eps=0.05, steps=4, **o),
    "cospgd": lambda **o: CosPGD(eps=0.05, steps=4, **o),
    "apgd": lambda **o: APGD(eps=0.05, steps=6, **o),
    "apgd-sea": lambda **o: APGD(eps=0.05, steps=8, schedule=SEA_SCHEDULE, **o),
    "apgd-l2": lambda **o: APGD(eps=0.5, norm="l2", steps=6, restarts=2 if o.get("keep") != "last" else 1, **o),
    "survival": lambda **o: SurvivalSMIA(eps=0.05, steps=6, **{"keep": "best", **o}),
    "fmn": lambda **o: FMN(eps=0.2, steps=6, success=0.2, **o),
    "square": lambda **o: Square(eps=0.05, queries=20, **o),
    "decision": lambda **o: DecisionSearch(eps=0.05, queries=12, block=4, **o),
    "rays": lambda **o: RayS(eps=0.05, queries=12, success=0.5, **o),
    "vafa": lambda **o: VAFA(eps=0.05, steps=4, **o),
    "low-frequency": lambda **o: LowFrequency(PGD(eps=0.05, steps=4, **o), spacing=4),
    "ensemble": lambda **o: Ensemble(attacks=[PGD(eps=0.05, steps=3, **o), Square(eps=0.05, queries=3, **o)], **o),
}
SEGMENTATION_ONLY = ("segpgd", "cospgd", "decision")
RANDOM = [
    name
    for name in ATTACKS
    if "pgd" in name or "noise" in name or name in ("difgsm", "square", "decision", "low-frequency", "ensemble")
]
SUITABLE = [
    (n, task, dims) for n in ATTACKS for task, dims in KINDS if task == "segmentation" or n not in SEGMENTATION_ONLY
]


def network(task: str, dims: int, *, channels: int = 2, classes: int = 3, size: int = 8, seed: int = 0) -> nn.Module:
    """A network with batch statistics and dropout, smooth, so that no gradient sign hangs on the last bit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        norm = Norm["batch", dims](4)
        norm.running_mean.uniform_(-0.3, 0.3)
        norm.running_var.uniform_(0.5, 1.5)
        body = [Conv["conv", dims](channels, 4, 3, padding=1), norm, nn.Tanh(), nn.Dropout(0.5)]
        if task == "classification":
            return nn.Sequential(*body, nn.Flatten(), nn.Linear(4 * size**dims, classes))
        return nn.Sequential(*body, Conv["conv", dims](4, classes, 3, padding=1))


@dataclass
class Case:
    """A victim with a batch that it gets right."""

    victim: Victim
    image: Tensor
    label: Tensor


def case(
    task: str,
    dims: int,
    *,
    batch: int = 3,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    size: int = 8,
    **options: Any,
) -> Case:
    """A victim (in eval mode), images in [0, 1], some voxels at the bounds, and its own clean decision as the label."""
    net = network(task, dims, size=size, seed=seed).to(dtype).eval()
    victim = (ClassificationVictim if task == "classification" else SegmentationVictim)(net, **options)
    generator = torch.Generator().manual_seed(seed)
    image = (torch.rand(batch, 2, *[size] * dims, generator=generator, dtype=dtype) * 1.2 - 0.1).clamp(0, 1)
    with torch.no_grad():
        label = victim.decide(victim.predict(image))
    return Case(victim, image, label)


def linear_victim(weight: Tensor, **options: Any) -> ClassificationVictim:
    """Loss <weight, x> exactly: the logits are (0, <weight, x>) and the loss is their difference."""

    class Linear(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            score = (image * weight).flatten(1).sum(1)
            return torch.stack([torch.zeros_like(score), score], 1)

    return ClassificationVictim(Linear(), loss=lambda p, y: p[:, 1] - p[:, 0], **options)


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Everything about a network that an attack must not change."""
    return {
        "state": copy.deepcopy(module.state_dict()),
        "modes": {name: m.training for name, m in module.named_modules()},
        "flags": {name: p.requires_grad for name, p in module.named_parameters()},
        "grads": {
            name: (id(p.grad), None if p.grad is None else p.grad.clone()) for name, p in module.named_parameters()
        },
    }


def assert_untouched(module: nn.Module, before: dict[str, Any]) -> None:
    after = snapshot(module)
    assert after["modes"] == before["modes"]
    assert after["flags"] == before["flags"]
    for name, value in before["state"].items():
        assert torch.equal(after["state"][name], value), name
    for name, (identity, gradient) in before["grads"].items():
        assert after["grads"][name][0] == identity, name
        assert gradient is None or torch.equal(after["grads"][name][1], gradient), name


def unsettled(module: nn.Module) -> nn.Module:
    """The network with modes, flags and gradients mixed, as an attack may find it."""
    for number, part in enumerate(module.modules()):
        part.training = number % 2 == 0
    for number, parameter in enumerate(module.parameters()):
        parameter.requires_grad_(number % 2 == 0)
        parameter.grad = torch.full_like(parameter, 0.25) if number % 3 == 0 else None
    return module


def logits_for(decision: list[list[int]], classes: int = 3) -> Tensor:
    """Sure logits of given decisions ``(B, X)``, as ``(B, K, X, 1)``."""
    return one_hot(torch.tensor(decision)[:, None, :, None], classes) * 20 - 10


def label_of(classes: list[list[int]]) -> Tensor:
    """A label ``(B, X)`` as ``(B, 1, X, 1)``."""
    return torch.tensor(classes)[:, None, :, None]
