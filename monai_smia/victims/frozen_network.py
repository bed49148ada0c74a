"""A network held still while it is attacked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen_network(network: nn.Module) -> Iterator[None]:
    """The network in eval mode and without parameter gradients; every module's mode and flag restored after.

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
    try:
        if training:
            network.eval()
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
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
