"""An extension of griffe for the site: sections ``Example:`` are code, as those that are called ``Examples:``."""

from __future__ import annotations

import re
from typing import Any

import griffe

HEAD = re.compile(r"^(\s*)Example:$", re.MULTILINE)


class CodeInExamples(griffe.Extension):
    """Renames the sections before docstrings are parsed."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Of every object with a docstring."""
        if obj.docstring is not None:
            obj.docstring.value = HEAD.sub(r"\1Examples:", obj.docstring.value)
