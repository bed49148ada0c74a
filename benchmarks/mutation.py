"""Does a test fail when the code is broken? Small changes to the package, one at a time, and the tests of their room.

    python benchmarks/mutation.py                                  # 120 changes, all rooms: an hour or two on one core
    python benchmarks/mutation.py --rooms attacks threat.py --count 40 --seed 1

Every change swaps an operator, a comparison or a boolean, moves a number, or drops a ``not`` or a branch. The package
is copied, changed in the copy, and the tests of the room run on it until the first fails. Printed are the changes
that no test noticed, then the share that was noticed. A change that shows in speed alone counts like any other: read
the survivors.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {  # room: tests that are to notice
    "threat.py": ["tests/test_threat.py", "tests/attacks/test_truth.py", "tests/attacks/test_pgd.py"],
    "attacks": ["tests/attacks"],
    "victims": ["tests/victims"],
    "inferers": ["tests/inferers"],
    "metrics": ["tests/metrics"],
    "analysis": ["tests/analysis", "tests/report"],
    "evaluation": ["tests/evaluation"],
    "storage": ["tests/storage", "tests/evaluation/test_runner.py"],
    "dicom": ["tests/dicom", "tests/storage/test_dicom.py"],
    "degradations": ["tests/degradations"],
}
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


def skipped(tree: ast.Module) -> set[int]:
    """Nodes that no test can notice: annotations, docstrings, messages of errors and warnings."""
    found: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.Raise | ast.Assert):
            parts = [node]
        elif isinstance(node, ast.FunctionDef):
            arguments = (*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs)
            parts = [node.returns, *(argument.annotation for argument in arguments)]
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.JoinedStr):
            parts = [node]
        for part in parts:
            found |= {id(inner) for inner in ast.walk(part)} if part is not None else set()
    return found


def places(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every node that can be changed, and how."""
    out_of_reach = skipped(tree)
    for node in ast.walk(tree):
        if id(node) in out_of_reach:
            continue
        if isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
            yield node, "op"
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            yield node, "ops"
        elif isinstance(node, ast.BoolOp):
            yield node, "op"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            yield node, "drop"
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value not in (1e-12, 1e-30):
            yield node, "number"
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield node, "bool"
        elif isinstance(node, ast.If):
            yield node, "branch"


class Change(ast.NodeTransformer):
    """Changes one node."""

    def __init__(self, line: int, column: int, kind: type, how: str) -> None:
        self.place, self.kind, self.how = (line, column), kind, how

    def visit(self, node: ast.AST) -> ast.AST:
        if type(node) is self.kind and (node.lineno, node.col_offset) == self.place:  # type: ignore[attr-defined]  # has both
            return self.changed(node)
        return self.generic_visit(node)

    def changed(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.BinOp | ast.BoolOp):
            node.op = SWAPS[type(node.op)]()
        elif isinstance(node, ast.Compare):
            node.ops[0] = SWAPS[type(node.ops[0])]()
        elif isinstance(node, ast.UnaryOp):
            return node.operand
        elif isinstance(node, ast.Constant):
            node.value = (
                (not node.value) if self.how == "bool" else node.value + 1 if node.value in (0, 1) else node.value * 2
            )
        elif isinstance(node, ast.If):
            node.test = ast.Constant(value=False)
        return node


def drawn(rooms: list[str], count: int, seed: int) -> list[tuple[str, Path, ast.AST, str]]:
    """So many changes, as many from every room as its share of places."""
    found = []
    for room in rooms:
        top = ROOT / "monai_smia" / room
        for path in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [(room, path, node, how) for node, how in places(tree)]
    return random.Random(seed).sample(found, min(count, len(found)))


def survives(room: str, path: Path, node: ast.AST, how: str, work: Path, seconds: float) -> bool:
    """Whether all tests of the room pass on the changed copy; one that does not end counts as noticed."""
    source = path.read_text(encoding="utf-8")
    change = Change(node.lineno, node.col_offset, type(node), how)  # type: ignore[attr-defined]  # places have both
    target = work / path.relative_to(ROOT)
    target.write_text(ast.unparse(ast.fix_missing_locations(change.visit(copy.deepcopy(ast.parse(source))))))
    command = [sys.executable, "-W", "ignore", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *ROOMS[room]]
    environment = {**os.environ, "PYTHONPATH": str(work), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, timeout=seconds, check=False)
        return done.returncode == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        target.write_text(source, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", nargs="+", default=list(ROOMS), choices=list(ROOMS), metavar="ROOM")
    parser.add_argument("--count", type=int, default=120, help="changes to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300, help="limit of one run of tests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in ("monai_smia", "tests", "bundles", "examples", "benchmarks"):
            shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("eval", "output", "__pycache__"))
        for name in ("pyproject.toml", "README.md", "setup.py"):
            shutil.copy(ROOT / name, work)
        changes = drawn(options.rooms, options.count, options.seed)
        survivors = 0
        for number, (room, path, node, how) in enumerate(changes, 1):
            if survives(room, path, node, how, work, options.seconds):
                survivors += 1
                text = ast.unparse(node).splitlines()[0]
                line = node.lineno  # type: ignore[attr-defined]  # places have one
                print(f"survives: {path.relative_to(ROOT)}:{line} {type(node).__name__} {how}: {text[:90]}", flush=True)
            print(f"{number} of {len(changes)}, {survivors} survive", file=sys.stderr, flush=True)
    noticed = len(changes) - survivors
    print(f"seed {options.seed}: {noticed} of {len(changes)} changes noticed ({noticed / len(changes):.1%})")


if __name__ == "__main__":
    main()
