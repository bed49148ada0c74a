"""Networks, drawn settings and reference gradients for the tests of the sliding window."""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.layers.factories import Conv
from torch import Tensor, nn


class Net(nn.Module):
    """Smooth and nonlinear; takes what MONAI may hand on; answers with a tensor, a tuple or a dictionary."""

    def __init__(self, dims: int, answer: str = "tensor") -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.second = (Conv["conv", dims](c, 3, 3, padding=1) for c in (2, 3))
        self.answer = answer
        self.double().requires_grad_(False)

    def forward(self, window: Tensor, *extra: Any, gain: float = 1.0) -> Any:
        for value in extra:
            if isinstance(value, float):
                gain *= value
            else:  # coordinates of every window
                starts = [sum(s.start for s in slices[2:]) for slices in value]
                gain = gain * (1 + torch.tensor(starts).to(window).view(-1, *[1] * (window.ndim - 1)) / 50)
        logits = self.second(torch.tanh(self.first(window))) * gain
        other = torch.sin(3 * self.first(window))[:, :2]
        if self.answer == "tensor":
            return logits
        return (logits, other) if self.answer == "tuple" else {"b": logits, "a": other}


def draw_setting(seed: int) -> dict[str, Any]:
    """One of many settings: of the inferer, the image, the network and the loss."""
    pick = random.Random(seed)
    dims = pick.choice([2, 2, 3])
    shape = [pick.randint(7, 13) for _ in range(dims)]
    roi: Any = pick.choice(
        [6, [pick.choice([4, 5, 8, 14]) for _ in range(dims)], [-1, *[5] * (dims - 1)], [None, *[6] * (dims - 1)]]
    )
    cached = isinstance(roi, list) and min(r or 0 for r in roi) > 0 and pick.random() < 0.4
    inferer = {
        "roi_size": roi,
        "sw_batch_size": pick.choice([1, 2, 3, 7]),
        "overlap": pick.choice([0.0, 0.25, 0.5, 0.8, [pick.choice([0.1, 0.6]) for _ in range(dims)]]),
        "mode": pick.choice(["constant", "gaussian"]),
        "sigma_scale": pick.choice([0.125, 0.3]),
        "padding_mode": pick.choice(["constant", "replicate", "reflect", "circular"]),
        "cache_roi_weight_map": cached,
        "with_coord": pick.random() < 0.25,
    }
    inferer["cval"] = 0.7 if inferer["padding_mode"] == "constant" else 0.0
    answer = pick.choice(["tensor", "tensor", "tuple", "dict"])
    if answer == "tensor" and not inferer["with_coord"] and pick.random() < 0.4:
        inferer |= {"buffer_steps": pick.choice([1, 2]), "buffer_dim": pick.choice([-1, 0])}
    return {
        "dims": dims,
        "shape": (pick.choice([1, 2, 3]), 2, *shape),
        "inferer": inferer,
        "answer": answer,
        "unused": pick.random() < 0.5,
        "args": (1.5,) if pick.random() < 0.3 else (),
        "kwargs": {"gain": 0.7} if pick.random() < 0.3 else {},
    }


def tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    return [output[key] for key in sorted(output)] if isinstance(output, dict) else list(output)


def loss_of(output: Any, unused: bool = False) -> Tensor:
    parts = tensors(output)[: 1 if unused else None]
    generator = torch.Generator().manual_seed(5)
    return sum((p.square() * torch.rand(p.shape, generator=generator, dtype=torch.float64).to(p)).sum() for p in parts)  # type: ignore[return-value]


def by_autograd(inferer: SlidingWindowInferer, image: Tensor, network: Callable[..., Any]) -> Any:
    """MONAI's own inferer under autograd; copies keep its in-place weighing off the graph."""

    def copied(*args: Any, **kwargs: Any) -> Any:
        output = network(*args, **kwargs)
        if isinstance(output, Tensor):
            return output * 1
        return {k: v * 1 for k, v in output.items()} if isinstance(output, dict) else tuple(o * 1 for o in output)

    return inferer(image, copied)


def gradient(
    inferer: SlidingWindowInferer, image: Tensor, network: Any, *args: Any, unused: bool = False, **kwargs: Any
) -> Tensor:
    x = image.clone().requires_grad_(True)
    return torch.autograd.grad(loss_of(inferer(x, network, *args, **kwargs), unused), x)[0]


def relative_error(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).abs().max() / expected.abs().max())


def rand(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


class Counting(nn.Module):
    """Knows how many of its activations are alive, and how many were at most."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.alive, self.peak = Net(3), 0, 0

    def forward(self, window: Tensor) -> Tensor:
        activation = torch.tanh(self.net.first(window))  # tanh saves its output
        self.alive += activation.numel()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(activation, self.freed, activation.numel())
        return self.net.second(activation)

    def freed(self, numel: int) -> None:
        self.alive -= numel
