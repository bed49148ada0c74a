"""A network held still while it is attacked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.nn import functional as F


@contextmanager
def frozen_network(network: nn.Module) -> Iterator[None]:
    """The network in eval mode and without parameter gradients; every module's mode and flag restored after.

    A PReLU with one slope, MONAI's default activation, runs as the leaky ReLU that it then is: `torch.prelu` computes
    the gradient of its slope even where nobody wants it, which makes its backward pass on a CPU ten times as long.
    (Not in a network that went through `torch.compile`, which would have to be compiled again for it.)

    Example:
        >>> network = nn.Sequential(nn.Linear(1, 1), nn.Dropout())
        >>> with frozen_network(network):
        ...     network[1].training, network[0].weight.requires_grad
        (False, False)
        >>> network[1].training, network[0].weight.requires_grad
        (True, True)
    """
    modules = _modules_of(network)
    training = [module for module in modules if module.training]
    trained = [p for module in modules for p in module._parameters.values() if p is not None and p.requires_grad]
    rectifiers: list[Any] = [] if _is_compiled(modules) else [m for m in modules if _is_leaky(m)]
    try:
        if training:
            network.eval()
        for parameter in trained:
            parameter.requires_grad_(False)
        for rectifier in rectifiers:
            rectifier.forward = partial(F.leaky_relu, negative_slope=rectifier.weight.item())
        yield
    finally:
        for rectifier in rectifiers:
            vars(rectifier).pop("forward", None)
        for module in training:
            module.training = True
        for parameter in trained:
            parameter.requires_grad_(True)


def _modules_of(network: nn.Module) -> list[nn.Module]:
    """As ``network.modules()``, shared ones repeated, without the names, which take most of that one's time."""
    found = [network]
    for module in found:
        found += [child for child in module._modules.values() if child is not None]
    return found


def _is_leaky(module: nn.Module) -> bool:
    return type(module) is nn.PReLU and module.num_parameters == 1 and "forward" not in vars(module)


def _is_compiled(modules: list[nn.Module]) -> bool:
    return any("_orig_mod" in m._modules or getattr(m, "_compiled_call_impl", None) is not None for m in modules)
