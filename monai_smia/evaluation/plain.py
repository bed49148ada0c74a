"""What is told of values that have no parts, of functions and of classes, for `monai_smia.evaluation.describe`."""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import json
import logging
import os
import sys
import sysconfig
import threading
import types
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from monai.transforms.traits import RandomizableTrait
from torch import Tensor

LOCKS = (type(threading.Lock()), type(threading.RLock()))
LIBRARIES = {Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib", "platlib")}
OURS = Path(__file__).parents[1]
INSTALLED = {"site-packages", "dist-packages"}  # of other environments that this one is on top of, or a user's own


def canonical(value: Any) -> str:
    """JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True)


def sha256(data: bytes) -> str:
    """SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def draws(transform: Any) -> bool:
    """Whether a transform, or one in it, draws at random."""
    if type(transform) is Compose:
        return any(draws(part) for part in transform.transforms)
    return isinstance(transform, RandomizableTrait)


def plain_value(value: Any) -> Any:
    """A value that JSON has, or the text of one that is told by it; None for all else."""
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, str):
        place = os.path.isabs(value) and "\n" not in value  # a folder may be named after a patient
        return file_contents(value) or (f"path {sha256(value.encode())[:16]}" if place else value)
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if isinstance(value, Path):
        return file_contents(value) or "path"
    if isinstance(value, bytes | bytearray):
        return sha256(bytes(value))
    if isinstance(value, torch.device):
        return "device"
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"
    if isinstance(value, (logging.Logger, *LOCKS)):
        return type(value).__name__
    if isinstance(value, type(...) | type(NotImplemented) | torch.dtype | np.dtype | torch.memory_format | complex):
        return str(value)
    return None


def file_contents(value: str | Path) -> str | None:
    """The contents of a file that a path names."""
    text = str(value)
    if not ("/" in text or "." in text):  # a word, as of an option
        return None
    try:
        path = Path(text)
        return f"file {sha256(path.read_bytes())}" if path.is_file() else None
    except (OSError, ValueError):
        return None


def slots_of(cls: type) -> list[str]:
    """Names of a class's slots."""
    slots = vars(cls).get("__slots__", ())
    return [name for name in ([slots] if isinstance(slots, str) else slots) if not name.startswith("__")]


def has_hidden_state(value: Any) -> bool:
    """Whether pickle takes something of an object that has no attributes, as a wrapper around C would hide."""
    return type(value).__reduce__ is not object.__reduce__ or type(value).__reduce_ex__ is not object.__reduce_ex__


def is_cached(member: Any) -> bool:
    """Whether a member of a class leaves what it computed among the attributes."""
    return isinstance(member, functools.cached_property)


def listed(value: Any) -> Any:
    """What pickle iterates over, as a list."""
    return list(value) if hasattr(value, "__next__") else value


def contents_of(cell: types.CellType) -> Any:
    """What a function closes over."""
    try:
        return cell.cell_contents
    except ValueError:  # not set yet
        return None


def globals_of(code: types.CodeType) -> set[str]:
    """Globals that a function reads, those of functions in it too."""
    own = {str(i.argval) for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    return own | {name for part in code.co_consts if inspect.iscode(part) for name in globals_of(part)}


def is_users(function: types.FunctionType) -> bool:
    """Whether a function is neither of a library nor of this package, whose versions are known."""
    module = sys.modules.get(function.__module__ or "")
    file = getattr(module, "__file__", None) or function.__code__.co_filename
    return not (file.startswith("<frozen") or function.__module__ == "builtins" or is_librarys(file))


@functools.cache  # an evaluation asks for tens of thousands of functions, of a few hundred files
def is_librarys(file: str) -> bool:
    """Whether a file is of what was installed, or of this package."""
    path = Path(file)
    return not {OURS, *LIBRARIES}.isdisjoint(path.parents) or not INSTALLED.isdisjoint(path.parts)


def name_of(value: Any) -> str:
    """Module and name of a class or function."""
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def bytes_of(tensor: Tensor) -> bytes:
    """The values of a tensor."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
