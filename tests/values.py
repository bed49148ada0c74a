"""Dataclasses whose objects are values: nobody can change one that somebody else holds."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import is_dataclass
from typing import Any


def dataclasses_of(name: str) -> dict[str, Any]:
    """The dataclasses that a module, or the modules of a package, define."""
    module = importlib.import_module(name)
    found = pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}.")
    every = [module, *(importlib.import_module(each.name) for each in found)]
    return {
        key: value
        for part in every
        for key, value in vars(part).items()
        if isinstance(value, type) and is_dataclass(value) and value.__module__ == part.__name__
    }


def changeable(name: str) -> set[str]:
    """Those of them whose attributes can be set; the others are values, and hashed by what they hold."""
    return {key for key, kind in dataclasses_of(name).items() if not kind.__dataclass_params__.frozen}
