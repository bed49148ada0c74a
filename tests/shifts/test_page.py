"""The page of shifts says what the classes are."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_is_that_of_the_classes() -> None:
    """Else print it anew: python docs/shifts.py table."""
    text = (DOCS / "shifts.md").read_text(encoding="utf-8")
    with_table = runpy.run_path(str(DOCS / "shifts.py"))["with_table"]
    assert with_table(text) == text
    assert with_table(text.replace("1.02 / 1.04", "1.02 / 1.05")) == text
