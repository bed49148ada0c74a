"""Objects as JSON that says all that they do: what two runs must have in common for their records to be one set."""

from __future__ import annotations

import hashlib
import inspect
import threading
import types
import weakref
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from monai.data import ImageReader
from monai.transforms import Compose, SavitzkyGolaySmooth
from torch import Tensor, nn

from monai_smia.evaluation.plain import (
    bytes_of,
    canonical,
    contents_of,
    draws,
    globals_of,
    has_hidden_state,
    is_cached,
    is_users,
    listed,
    name_of,
    plain_value,
    sha256,
    slots_of,
)

PYTHON_CLASS = 1 << 9  # Py_TPFLAGS_HEAPTYPE
MODULE_STATE = frozenset(nn.Module().__dict__) - {"_forward_hooks", "_forward_pre_hooks"}


@runtime_checkable
class Described(Protocol):
    """An object that says itself which of its parts decide: it holds a state, or where its files lie."""

    def fingerprint_parts(self) -> Mapping[str, Any]:
        """All that decides a figure."""


REMEMBERED = {ImageReader: "filenames", SavitzkyGolaySmooth: "img_t"}  # what a thing was used on last


class UnknownObjectError(ValueError):
    """Of an object it cannot be said what it does."""


def describe(value: Any) -> Any:
    """An object as JSON: its class and all of its attributes, all the way down.

    A network is its classes, their attributes and its weights; a function its code, constants, defaults and what it
    closes over, one of the user's with the globals that it reads and a class of the user's with its methods; a file its
    contents; what has no attributes is what pickle takes of it. Left out is where a thing lies or runs: folders and
    devices.

    Raises:
        UnknownObjectError: if something cannot be taken apart, such as an open file; it is named.

    Example:
        >>> from monai.transforms import ScaleIntensity
        >>> from monai_smia.attacks import FGSM
        >>> describe(FGSM(eps=0.1))["eps"], describe(ScaleIntensity(0, 2))["maxv"]
        (0.1, 2)
    """
    return _Describer().of(value)


def weights_hash(network: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of a network's parameters and buffers, the unsaved ones too."""
    total = hashlib.sha256()
    tensors = {**dict(network.named_buffers()), **network.state_dict()}
    for name, tensor in sorted(tensors.items()):
        if isinstance(tensor, Tensor):
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            total.update(bytes_of(tensor))
    return total.hexdigest()


class _Describer:
    """One walk through an object."""

    def __init__(self) -> None:
        self.above: list[int] = []
        self.path: list[str] = []
        self.functions: set[int] = set()

    def of(self, value: Any, name: str = "") -> Any:
        """The description of a value that lies under a name."""
        plain = plain_value(value)
        if plain is not None or value is None:
            return plain
        if id(value) in self.above:
            return f"that {len(self.above) - self.above.index(id(value))} above"
        self.above.append(id(value))
        self.path.append(name)
        try:
            return self._composed(value)
        finally:
            self.above.pop()
            self.path.pop()

    def _composed(self, value: Any) -> Any:
        for kinds, way in _WAYS:
            if isinstance(value, kinds):
                return way(self, value)
        if inspect.isroutine(value):
            return self._callable(value)
        return self._object(value)

    def _mapping(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        return {k if isinstance(k, str) else canonical(self.of(k)): self.of(v, str(k)) for k, v in value.items()}

    def _sequence(self, value: Sequence[Any]) -> list[Any]:
        return [self.of(v, str(i)) for i, v in enumerate(value)]

    def _set(self, value: Set[Any]) -> list[str]:
        return sorted(canonical(self.of(v)) for v in value)

    def _array(self, value: Tensor | np.ndarray) -> Any:
        if isinstance(value, np.ndarray) and value.dtype.hasobject:
            return self.of(value.tolist())
        data = bytes_of(value) if isinstance(value, Tensor) else np.ascontiguousarray(value).tobytes()
        text = f"{value.dtype} {tuple(value.shape)} {sha256(data)}"
        affine = getattr(value, "affine", None)
        return text if affine is None else [text, self.of(affine)]

    def _module(self, value: nn.Module) -> dict[str, Any]:
        if isinstance(value, Described):
            return {"class": self._class(type(value)), **self._mapping(value.fingerprint_parts())}
        parts: dict[str, Any] = {}
        for name, module in value.named_modules():
            code = getattr(module, "code", None)  # of TorchScript and torch.fx
            if isinstance(module, torch.jit.ScriptModule) or isinstance(code, str):
                parts[name] = [self._class(type(module)), str(code)]
                continue
            own = {n: v for n, v in vars(module).items() if n not in MODULE_STATE}
            own = {n: v for n, v in own.items() if not n.endswith("_hooks") or v}
            parts[name] = {"class": self._class(type(module)), **self._attributes(module, own)}
        return {"modules": parts, "weights": weights_hash(value)}

    def _partial(self, value: partial[Any]) -> list[Any]:
        return [self.of(part) for part in (value.func, value.args, value.keywords)]

    def _object(self, value: Any) -> Any:
        if isinstance(value, Described):
            return {"class": self._class(type(value)), **self._mapping(value.fingerprint_parts())}
        if wrapped := getattr(value, "__wrapped__", None):  # a cached function
            return self.of(wrapped)
        if all(base is object or base.__flags__ & PYTHON_CLASS for base in type(value).__mro__):
            slots = [name for base in type(value).__mro__ for name in slots_of(base)]
            attributes = {name: getattr(value, name) for name in slots if hasattr(value, name)}
            attributes |= getattr(value, "__dict__", {})
            if attributes or not has_hidden_state(value):
                return {"class": self._class(type(value)), **self._attributes(value, attributes)}
        try:
            reduced = value.__reduce_ex__(4)
        except Exception as error:
            where = ".".join(part for part in self.path if part) or "the value"
            raise UnknownObjectError(
                f"{where} is of {name_of(type(value))}, of which it cannot be said what it does ({error}): records "
                "could be mixed with those of another. Make it an object of plain attributes, or one that is pickled."
            ) from error
        if isinstance(reduced, str):
            return f"{type(value).__module__}.{reduced}"
        return {"class": name_of(type(value)), "state": [self.of(listed(part)) for part in reduced[1:]]}

    def _attributes(self, value: Any, attributes: Mapping[str, Any]) -> dict[str, Any]:
        cached = {name for base in type(value).__mro__ for name, v in vars(base).items() if is_cached(v)}
        found = {n: v for n, v in attributes.items() if n not in cached and not isinstance(v, threading.local)}
        if isinstance(value, Compose) and not draws(value):
            found.pop("R", None)  # seeded at random, and never used
        for kind, name in REMEMBERED.items():
            if isinstance(value, kind):
                found.pop(name, None)
        return self._mapping(found)

    def _class(self, value: type) -> Any:
        """A class by its name, and one of the user's by its methods."""
        methods = {}
        for base in value.__mro__:
            for name, member in vars(base).items():
                function = inspect.unwrap(getattr(member, "__func__", getattr(member, "fget", member)) or member)
                if isinstance(function, types.FunctionType) and is_users(function):
                    methods[f"{base.__qualname__}.{name}"] = self._function(function)
        return [name_of(value), methods] if methods else name_of(value)

    def _callable(self, value: Any) -> Any:
        if isinstance(value, types.MethodType):
            return [self.of(value.__func__), self.of(value.__self__)]
        if isinstance(value, types.FunctionType):
            return self._function(value)
        owner = getattr(value, "__self__", None)  # of a method in C
        named = owner is None or isinstance(owner, types.ModuleType | type)
        return name_of(value) if named else [name_of(value), self.of(owner)]

    def _function(self, value: types.FunctionType) -> Any:
        if id(value) in self.functions:  # described already
            return name_of(value)
        self.functions.add(id(value))
        code = value.__code__
        inside = {
            "code": self._code(code),
            "defaults": self.of(value.__defaults__),
            "keywords": self.of(value.__kwdefaults__),
            "closure": [self.of(contents_of(cell)) for cell in value.__closure__ or ()],
        }
        if is_users(value):
            read = {name: value.__globals__[name] for name in globals_of(code) if name in value.__globals__}
            inside["globals"] = {name: self.of(v, name) for name, v in sorted(read.items())}
        return {"function": name_of(value), **{name: v for name, v in inside.items() if v}}

    def _code(self, code: types.CodeType) -> list[Any]:
        constants = [self._code(c) if inspect.iscode(c) else self.of(c) for c in code.co_consts]
        return [sha256(code.co_code), list(code.co_names), constants]


_WAYS: tuple[tuple[Any, Callable[[_Describer, Any], Any]], ...] = (
    (nn.Module, _Describer._module),
    (Tensor | np.ndarray, _Describer._array),
    (np.generic, lambda walk, value: f"{value.dtype} {value}"),
    (torch.Generator, lambda walk, value: walk.of(value.get_state())),
    (weakref.ref, lambda walk, value: walk.of(value())),
    (Mapping, _Describer._mapping),
    (Set, _Describer._set),
    (Sequence, _Describer._sequence),
    (partial, _Describer._partial),
    (type, _Describer._class),
)
