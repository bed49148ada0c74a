"""A network held still while it is attacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import RLock
from typing import Any

from torch import nn
from torch.nn import functional as F


@dataclass
class _Held:
    """A module or parameter that is held still: by how many users, and how the first one found it."""

    thing: Any  # kept alive, so that its id stays its own
    restore: Callable[[], Any]
    users: int = 1


_HELD: dict[int, _Held] = {}
_LOCK = RLock()


@contextmanager
def frozen_network(network: nn.Module) -> Iterator[None]:
    """The network in eval mode and without parameter gradients; every module's mode and flag restored after.

    Users are counted, module by module and in all threads: it is the last of them that restores what the first found.
    Modules that a module keeps in a plain list, tuple or dictionary, where `nn.Module.eval` does not reach them, are
    held like all others.

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
    held: list[int] = []
    try:
        with _LOCK:
            _hold(network, held)
        yield
    finally:
        with _LOCK:
            for number in held:
                _release(number)


def modules_of(network: nn.Module) -> list[nn.Module]:
    """All modules of a network, those in its modules' plain lists, tuples and dictionaries among them.

    (Without the names of `nn.Module.named_modules`, which take most of that one's time.)

    Example:
        >>> network = nn.Identity()
        >>> network.branches = [nn.ReLU(), {"skip": nn.Dropout()}]
        >>> [type(module).__name__ for module in modules_of(network)], len(list(network.modules()))
        (['Identity', 'ReLU', 'Dropout'], 1)
    """
    found, seen = [network], {id(network)}
    for module in found:
        children = list(module._modules.values())
        for name, value in vars(module).items():
            if name not in _OWN and isinstance(value, (list, tuple, dict)):
                children += _modules_in(value)
        for child in children:
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                found.append(child)
    return found


_OWN = frozenset(vars(nn.Module()))  # parameters, buffers, registered modules and hooks


def _modules_in(value: Any) -> Iterator[nn.Module]:
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _modules_in(part)


def _hold(network: nn.Module, held: list[int]) -> None:
    """Hold what is not held yet, and count this user of what is."""
    modules = modules_of(network)
    parameters = [p for module in modules for p in module._parameters.values() if p is not None]
    rectifiers: list[Any] = [] if _is_compiled(modules) else [m for m in modules if type(m) is nn.PReLU]
    for module in modules:
        _count(module, held, _is_training(module), partial(setattr, module, "training", True))
    for module in modules:  # those in plain lists are reached one by one
        if _is_training(module):
            try:
                module.eval()
            except NotImplementedError:  # a program of torch.export keeps the mode that it was exported in
                module.training = False
    for parameter in parameters:
        _count(parameter, held, parameter.requires_grad, partial(parameter.requires_grad_, True))
        parameter.requires_grad_(False)
    for rectifier in rectifiers:
        weight = rectifier.weight
        _count(vars(rectifier), held, _is_leaky(rectifier), partial(vars(rectifier).pop, "forward", None))
        if _is_leaky(rectifier):
            rectifier.forward = partial(F.leaky_relu, negative_slope=weight.item())


def _is_training(module: nn.Module) -> bool:
    """Whether a module is in train mode; frozen TorchScript is in none."""
    return bool(getattr(module, "training", False))


def _count(thing: Any, held: list[int], changes: bool, restore: Callable[[], Any]) -> None:
    if id(thing) in _HELD:
        _HELD[id(thing)].users += 1
    elif changes:
        _HELD[id(thing)] = _Held(thing, restore)
    else:
        return
    held.append(id(thing))


def _release(number: int) -> None:
    _HELD[number].users -= 1
    if not _HELD[number].users:
        _HELD.pop(number).restore()


def _is_leaky(module: nn.PReLU) -> bool:
    return module.num_parameters == 1 and "forward" not in vars(module)


def _is_compiled(modules: list[nn.Module]) -> bool:
    return any("_orig_mod" in m._modules or getattr(m, "_compiled_call_impl", None) is not None for m in modules)
