"""Small changes to a file of Python, one node each: what `mutation.py` makes, and asks the tests about."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
Place = tuple[int, int, int, int]


@dataclass(frozen=True)
class Change:
    """One change: the node at a place of a file, and what becomes of it."""

    room: str
    path: Path
    kind: type
    place: Place
    how: str

    def __str__(self) -> str:
        """Where it is, and what it makes of what."""
        return f"{self.path.relative_to(ROOT)}:{self.place[0]} {self._what()}"

    @property
    def key(self) -> str:
        """The change without the number of its line, which moves, and with that line."""
        line = self.path.read_text(encoding="utf-8").splitlines()[self.place[0] - 1]
        return f"{self.path.relative_to(ROOT)} {self._what()} in: {line.strip()}"

    def _what(self) -> str:
        before, after = (ast.unparse(node).splitlines()[0][:100] for node in self.nodes()[1:])
        return f"{self.how}: {before}  ->  {after}"

    def nodes(self) -> tuple[ast.AST, ast.AST, ast.AST]:
        """The changed file, the node as it was, and as it is."""
        tree = ast.parse(self.path.read_text(encoding="utf-8"))
        edit = Edit(self)
        changed = ast.fix_missing_locations(edit.visit(tree))
        assert edit.before is not None
        return changed, edit.before, edit.after


class Edit(ast.NodeTransformer):
    """Makes one change."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.before: ast.AST | None = None

    def visit(self, node: ast.AST) -> ast.AST:
        if type(node) is not self.change.kind or place_of(node) != self.change.place or self.before is not None:
            return self.generic_visit(node)
        self.before, self.after = copy.deepcopy(node), changed(node, self.change.how)
        return self.after


def place_of(node: ast.AST) -> Place:
    return (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]  # has them


def changed(node: ast.AST, how: str) -> ast.AST:
    """A node after its change."""
    if isinstance(node, ast.BinOp) and how == "type":
        return node.left
    if isinstance(node, ast.BinOp | ast.BoolOp):
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Compare):
        index = int(how.removeprefix("comparison "))
        node.ops[index] = SWAPS[type(node.ops[index])]()
    elif isinstance(node, ast.UnaryOp):
        return node.operand
    elif isinstance(node, ast.Constant):
        node.value = (
            (not node.value) if how == "boolean" else node.value + 1 if node.value in (0, 1) else node.value * 2
        )
    elif isinstance(node, ast.If):
        node.test = ast.Constant(value=False)
    elif isinstance(node, ast.IfExp):
        return node.orelse
    return node


def is_type(node: ast.AST) -> bool:
    """Whether a node names a type or None: what stands beside ``|`` in isinstance and in annotations."""
    name = ast.unparse(node).split("[")[0].split(".")[-1]
    return (
        name == "None"
        or name[:1].isupper()
        or name in ("int", "float", "str", "bool", "bytes", "list", "tuple", "dict")
    )


def skipped(tree: ast.Module) -> set[int]:
    """Nodes that are no figure: annotations, messages of errors, and assertions, as ``zip(strict=True)`` is.

    Local names that are set in a block that ends in a ``raise`` are part of its message: nothing else is run after it.
    """
    found: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        for block in (getattr(node, "body", None), getattr(node, "orelse", None)):
            if isinstance(block, list) and block and isinstance(block[-1], ast.Raise):
                parts += [part for part in block if isinstance(part, ast.Assign) and sets_local_names(part)]
        if isinstance(node, ast.Raise | ast.Assert):
            parts.append(node)
        elif isinstance(node, ast.FunctionDef):
            arguments = (*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs)
            parts += [node.returns, *(argument.annotation for argument in arguments)]
        elif isinstance(node, ast.AnnAssign):
            parts.append(node.annotation)
        elif isinstance(node, ast.JoinedStr):
            parts.append(node)
        elif isinstance(node, ast.keyword) and node.arg == "strict":
            parts.append(node.value)
        for part in parts:
            found |= {id(inner) for inner in ast.walk(part)} if part is not None else set()
    return found


def sets_local_names(statement: ast.Assign) -> bool:
    """Whether an assignment sets names alone, no attribute or entry of something that outlives the function."""
    targets = [part for target in statement.targets for part in getattr(target, "elts", [target])]
    return all(isinstance(target, ast.Name) for target in targets)


def places(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every node that can be changed, and how."""
    out_of_reach = skipped(tree)
    asked = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass")
        for inner in ast.walk(node.args[1])
    }
    for node in ast.walk(tree):
        if id(node) in out_of_reach:
            continue
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and is_type(node.right):
            if id(node) in asked:
                yield node, "type"
        elif isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
            yield node, "operator"
        elif isinstance(node, ast.Compare):
            yield from ((node, f"comparison {i}") for i, op in enumerate(node.ops) if type(op) in SWAPS)
        elif isinstance(node, ast.BoolOp):
            yield node, "operator"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            yield node, "drop"
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield node, "number"
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield node, "boolean"
        elif isinstance(node, ast.If | ast.IfExp):
            yield node, "branch"


def changes_of(rooms: list[str]) -> list[Change]:
    """Every change that can be made to these rooms."""
    found = []
    for room in rooms:
        top = ROOT / "monai_smia" / room
        for path in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            for node, how in places(ast.parse(path.read_text(encoding="utf-8"))):
                found.append(Change(room, path, type(node), place_of(node), how))
    return found


def statement(tree: ast.Module, place: Place) -> tuple[bool, range]:
    """Whether a place is run at import already, and the lines of the innermost statement that holds it."""
    at_import, lines, body = True, range(0), list(tree.body)
    while body:
        inside = [part for part in body if part.lineno <= place[0] <= (part.end_lineno or 0)]
        if not inside:
            break
        (part,) = inside[:1]
        blocks = [getattr(part, name, []) for name in ("body", "orelse", "finalbody", "handlers", "cases")]
        body = [child for block in blocks for child in (block if isinstance(block, list) else [])]
        body = [child for node in body for child in (node.body if isinstance(node, ast.match_case) else [node])]
        last = min((child.lineno for child in body), default=(part.end_lineno or 0) + 1)
        lines = range(part.lineno, max(last, part.lineno + 1))
        if isinstance(part, ast.FunctionDef) and place[0] >= last:
            at_import = False
    return at_import, lines
