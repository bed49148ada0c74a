"""Names that live elsewhere now, found when they are asked for: what an old import still finds."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def moved(module: str, names: Mapping[str, str], *, deprecated: bool = True) -> Callable[[str], Any]:
    """A module's ``__getattr__`` (PEP 562) for names that are defined in another module.

    Args:
        module: the module that the names are asked of.
        names: where each name is: ``"package.module"``, or ``"package.module:name"`` where it is called otherwise now.
        deprecated: warn that the old place goes with the next version; False for names that stay.

    Example:
        >>> look_up = moved("old", {"Path": "pathlib", "join": "os.path:join"}, deprecated=False)
        >>> look_up("Path").__name__, look_up("join")("a", "b")
        ('Path', 'a/b')
    """

    def look_up(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, there = names[name].partition(":")
        if deprecated:
            warnings.warn(
                f"{module}.{name} is deprecated and will be removed in 0.3: use {home}.{there or name}.",
                DeprecationWarning,
                stacklevel=2,
            )
        return getattr(importlib.import_module(home), there or name)

    return look_up
