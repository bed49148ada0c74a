"""The changes that `benchmarks/mutation.py` makes: the node that is meant, and no other."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

CODE = '''
def f(a: int | None, b: float = 2.0) -> float:
    """A text, 1 + 1."""
    if not a:
        told, other = a + 1, not b
        f.asked = True
        raise ValueError(f"{a + 1} is none", told, other)
    pairs = list(zip([a], [b], strict=True))
    return a + b - 3 if 0 <= a < 5 else -a
'''
CHANGED = {
    "a: int | None, b: float=4.0",
    "if a:",
    "if False:",
    "f.asked = False",
    "a - b - 3",
    "a + b + 3",
    "a + b - 6",
    "0 < a < 5",
    "0 <= a <= 5",
    "0 <= a < 10",
    "1 <= a < 5",
    "return -a",
    "else a",
}


@pytest.fixture
def mutants(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    folder = Path(__file__).parents[2] / "benchmarks"
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return importlib.import_module("mutants")


def test_every_change_is_made_and_no_other(
    mutants: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    path = tmp_path / "a.py"
    path.write_text(CODE)
    plain = ast.unparse(ast.parse(CODE))
    found = [
        mutants.Change("room", path, type(node), mutants.place_of(node), how)
        for node, how in mutants.places(ast.parse(CODE))
    ]
    texts = [ast.unparse(change.nodes()[0]) for change in found]
    assert len(set(texts)) == len(texts) == len(CHANGED)
    for expected in CHANGED:
        assert sum(expected in text and expected not in plain for text in texts) == 1, expected


def test_which_lines_a_statement_has_and_when_it_runs(mutants: ModuleType) -> None:
    tree = ast.parse(CODE)
    at_import, lines = mutants.statement(tree, (2, 30, 2, 33))  # a default
    assert (at_import, list(lines)) == (True, [2])
    at_import, lines = mutants.statement(tree, (9, 11, 9, 12))
    assert (at_import, list(lines)) == (False, [9])
    at_import, lines = mutants.statement(tree, (4, 4, 7, 40))  # an if: its own line, not what it guards
    assert (at_import, list(lines)) == (False, [4])
