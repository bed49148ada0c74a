"""Hashes of all that a record depends on: the configuration, the weights and the input files."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CHUNK = 1 << 20


def describe(value: Any) -> Any:
    """An object as JSON that says what it does: its class and its public attributes, all the way down.

    Paths are left out (where a thing lies does not change what it is), a network is its classes (its weights are hashed
    by `weights_hash`), a function is its name, a local one its code and what it closes over; of anything else without
    attributes, such as a random state, only the class is said.

    Example:
        >>> from monai.transforms import ScaleIntensity
        >>> from monai_smia.attacks import FGSM
        >>> describe(FGSM(eps=0.1))["eps"], describe(ScaleIntensity(0, 2))["maxv"]
        (0.1, 2)
    """
    return _describe(value, ())


def digest(value: Any) -> str:
    """SHA-256 of the `describe` of a value."""
    text = json.dumps(describe(value), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def weights_hash(network: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of a network's parameters and buffers."""
    total = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if isinstance(tensor, Tensor):
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            total.update(_bytes(tensor))
    return total.hexdigest()


def input_hash(item: Mapping[str, Any]) -> str:
    """SHA-256 over a case's files and whatever else its item says; a missing file counts as missing."""
    total = hashlib.sha256()
    for name in sorted(item):
        total.update(name.encode())
        files = files_of(item[name])
        if not files:
            total.update(json.dumps(describe(item[name]), sort_keys=True, default=str).encode())
        for file in files:
            total.update(file.name.encode())
            with file.open("rb") as stream:
                while block := stream.read(CHUNK):
                    total.update(block)
    return total.hexdigest()


def input_stat(item: Mapping[str, Any]) -> list[list[int]]:
    """Size and time of change of a case's files: while they stand, its hash need not be taken again."""
    stats = (file.stat() for name in sorted(item) for file in files_of(item[name]))
    return [[stat.st_size, stat.st_mtime_ns] for stat in stats]


def files_of(value: Any) -> list[Path]:
    """The files that a value names: a file, all files of a folder, or those of a list."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, (str, Path)) for v in value):
        return [file for part in value for file in files_of(part)]
    if not isinstance(value, (str, Path)) or not value:
        return []
    path = Path(value)
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path] if path.is_file() else []


def _describe(value: Any, above: tuple[int, ...]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if id(value) in above:
        return "..."
    above = (*above, id(value))
    if isinstance(value, Mapping):
        return {str(k): _describe(v, above) for k, v in value.items() if not isinstance(v, Path)}
    if isinstance(value, Set):
        return sorted(str(_describe(v, above)) for v in value)
    if isinstance(value, Sequence):
        return [_describe(v, above) for v in value]
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(_bytes(torch.as_tensor(value))).hexdigest()}"
    if isinstance(value, nn.Module):
        return [f"{name} {type(module).__name__} {module.extra_repr()}" for name, module in value.named_modules()]
    if isinstance(value, partial):
        return [_describe(part, above) for part in (value.func, value.args, value.keywords)]
    if inspect.isroutine(value) or inspect.isclass(value):
        return _describe_callable(value, above)
    if isinstance(value, Path):
        return "path"
    ours = type(value).__module__.startswith("monai_smia.")
    attributes = {n: v for n, v in getattr(value, "__dict__", {}).items() if ours or not n.startswith("_")}
    return {"class": _name(type(value)), **_describe(attributes, above)}


def _describe_callable(value: Any, above: tuple[int, ...]) -> Any:
    name = _name(value)
    if "<" not in name:  # found by its name; a lambda or local function is its code
        return name
    cells = [_describe(cell.cell_contents, above) for cell in getattr(value, "__closure__", None) or ()]
    code = hashlib.sha256(value.__code__.co_code + repr(value.__code__.co_names).encode()).hexdigest()
    return [name, code, repr([c for c in value.__code__.co_consts if not inspect.iscode(c)]), *cells]


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
