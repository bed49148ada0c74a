"""The scripts of an algorithm folder, run as they are, and kept from changing the process that runs them."""

from __future__ import annotations

import logging
import logging.config
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

KINDS = "?bhilqBHILQefd"  # of numpy's numbers, which checkpoints hold beside tensors


class WeightsError(ValueError):
    """A file of weights holds more than weights."""


class OnDevice(TorchFunctionMode):
    """Whatever names a CUDA device is given this one: two templates name ``cuda:0``, whatever there is.

    Example:
        >>> with OnDevice(torch.device("cpu")):
        ...     torch.zeros(1, device="cuda:0").device
        device(type='cpu')
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The function, with its devices exchanged."""
        return func(*map(self.moved, args), **{name: self.moved(value) for name, value in (kwargs or {}).items()})

    def moved(self, value: Any) -> Any:
        """This device in the place of one of CUDA; anything else as it is."""
        named = value.type if isinstance(value, torch.device) else value if isinstance(value, str) else ""
        return self.device if named.startswith("cuda") else value


class Scripts:
    """The Python files of a folder, imported apart from those of other folders, which have the same names.

    Args:
        folder: of the algorithm.
        device: what they run on, whatever they name.

    Attributes:
        weights: files that they have loaded.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device = folder.resolve(), device
        self.weights: list[str] = []
        self._modules: dict[str, ModuleType] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside, their modules are there, and what they set for a whole process (logging, environment) is undone.

        Weights are loaded as tensors and numbers alone, whatever the scripts say.
        """
        with ExitStack() as stack:
            stack.enter_context(self._imported())
            stack.enter_context(_undone(os.environ))
            stack.enter_context(np.printoptions())
            stack.enter_context(_replaced(logging, "basicConfig", _nothing))
            stack.enter_context(_replaced(logging.config, "dictConfig", _nothing))
            stack.enter_context(_replaced(torch.multiprocessing, "set_start_method", _nothing))
            stack.enter_context(_replaced(torch, "load", self._loading(torch.load)))
            stack.enter_context(_benchmark_as_it_is())
            stack.enter_context(OnDevice(self.device))
            yield

    @contextmanager
    def _imported(self) -> Iterator[None]:
        names = {path.stem for path in self.folder.glob("**/*.py")} | set(self._modules)
        others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
        path = list(sys.path)
        sys.path.insert(0, str(self.folder / "scripts"))
        sys.modules.update(self._modules)
        try:
            yield
        finally:
            sys.path[:] = path
            self._modules |= {name: module for name, module in sys.modules.items() if self._is_ours(module)}
            for name in self._modules:
                sys.modules.pop(name, None)
            sys.modules.update(others)

    def _is_ours(self, module: Any) -> bool:
        file = getattr(module, "__file__", None)
        return isinstance(file, str) and Path(file).resolve().is_relative_to(self.folder)

    def _loading(self, load: Callable[..., Any]) -> Callable[..., Any]:
        def plain(f: Any, map_location: Any = None, **options: Any) -> Any:
            where = map_location if callable(map_location) else self.device
            try:
                with torch.serialization.safe_globals(_numbers()):
                    found = load(f, map_location=where, **{**options, "weights_only": True})
            except pickle.UnpicklingError as error:
                raise WeightsError(
                    f"{f} holds more than tensors and numbers, which may run anything when it is loaded: "
                    f"{str(error).splitlines()[0]}"
                ) from error
            self.weights.append(str(f))
            return found

        return plain


def _numbers() -> list[Any]:
    """What arrays and numbers of numpy are pickled as."""
    from numpy._core.multiarray import _reconstruct, scalar

    older = [(_reconstruct, "numpy.core.multiarray._reconstruct"), (scalar, "numpy.core.multiarray.scalar")]
    kinds = [type(np.dtype(kind)) for kind in KINDS]
    return [np.ndarray, np.dtype, _reconstruct, scalar, *older, *kinds]


def _nothing(*args: Any, **options: Any) -> None:
    """In the place of what configures a whole process."""


@contextmanager
def _replaced(holder: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)


@contextmanager
def _undone(mapping: Any) -> Iterator[None]:
    before = dict(mapping)
    try:
        yield
    finally:
        for name in set(mapping) - set(before):
            del mapping[name]
        mapping.update(before)


@contextmanager
def _benchmark_as_it_is() -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
