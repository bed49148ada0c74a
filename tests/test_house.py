"""The house: imports run one way and in no circle, files are short, the command line starts quickly."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "monai_smia"
# Every room may import those of the lines above its own; rooms of one line may import each other, without a circle.
LEVELS = (
    ("files", "nearest", "_moved", "checks", "overrides", "units"),
    ("command_line", "threat", "metrics", "degradations", "shifts"),
    ("inferers",),
    ("victims",),
    ("attacks", "certificates"),
    ("transforms", "handlers", "engines"),
    ("dicom",),
    ("storage",),
    ("targets",),
    ("records",),
    ("analysis",),
    ("report",),
    ("evaluation",),
    ("adapters",),
    ("options",),
    ("commands",),
    ("product_commands",),
    ("evidence",),
    ("cli",),
    ("__main__",),
)
FACADES = {"bundle", "data", "handling", "networks", "smoothing"}  # old names; they name their homes in strings
LONGEST = 300


def room(module: str) -> str:
    """``"monai_smia.attacks.bim"`` -> ``"attacks"``; the package itself -> ``""``."""
    return module.partition(".")[2].partition(".")[0]


def modules_of(package: Path) -> dict[str, Path]:
    names = {".".join(path.relative_to(package.parent).with_suffix("").parts): path for path in package.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


def imports_of(path: Path, module: str, modules: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports: anywhere in it, for types only, too.

    ``from package.room import name`` is an import of ``package.room.name`` where that is a file.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules else str(node.module))
    return {name for name in found if name in modules} - {module}


def graph_of(package: Path) -> dict[str, set[str]]:
    modules = modules_of(package)
    return {module: imports_of(path, module, modules) for module, path in modules.items()}


def opened(graph: dict[str, set[str]], package: Path) -> dict[str, set[str]]:
    """The graph of files: an import of a room's ``__init__`` is one of every file of the room that it names."""
    rooms = {module for module, path in modules_of(package).items() if path.name == "__init__.py"}
    files: dict[str, set[str]] = {}
    for module in graph.keys() - rooms:
        reached, todo = set(), list(graph[module])
        while todo:
            target = todo.pop()
            if target not in rooms:
                reached.add(target)
            elif room(target) != room(module):  # within a room, files import each other by name
                todo += graph[target]
        files[module] = reached
    return files


def circle_of(graph: dict[str, set[str]]) -> list[str]:
    """A circle of imports, as the modules along it; empty where there is none."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph.get(module, ())):
            if circle := visit(target, [*path, module]):
                return circle
        done.add(module)
        return []

    return next((circle for module in sorted(graph) if (circle := visit(module, []))), [])


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports that run back up between rooms, or into `targets`."""
    level = {name: number for number, names in enumerate(LEVELS) for name in names}
    wrong = []
    for module, targets in graph.items():
        here = room(module)
        for target in targets:
            there = room(target)
            if here in ("", there) or here in FACADES or there == "":
                continue
            if there in FACADES or level[there] > level[here] or there == "targets":
                wrong.append(f"{module} imports {target}")
    return sorted(wrong)


def test_every_room_has_a_level() -> None:
    rooms = {room(module) for module in modules_of(PACKAGE)} - {""}
    assert rooms - FACADES == {name for names in LEVELS for name in names}
    assert rooms >= FACADES


def test_imports_run_one_way() -> None:
    assert upward(graph_of(PACKAGE)) == []


def test_no_circle() -> None:
    graph = graph_of(PACKAGE)
    assert circle_of(opened(graph, PACKAGE)) == []
    assert circle_of(graph) == []


def test_facades_import_nothing_but_the_look_up() -> None:
    graph = graph_of(PACKAGE)
    assert {name: graph[f"monai_smia.{name}"] for name in FACADES} == {name: {"monai_smia._moved"} for name in FACADES}


@pytest.mark.parametrize(
    ("file", "line", "is_upward", "is_circle"),
    [
        ("attacks/bim.py", "from monai_smia.report.html import write", True, True),
        ("attacks/bim.py", "def late():\n    from monai_smia import report", True, True),
        ("attacks/bim.py", "if TYPE_CHECKING:\n    import monai_smia.report.html", True, True),
        ("report/html.py", "from monai_smia.targets.fundus import Eye", True, False),
        ("targets/fundus.py", "from monai_smia.records import Record", True, False),
        ("attacks/base.py", "if TYPE_CHECKING:\n    from monai_smia.attacks.bim import BIM", False, True),
        ("attacks/base.py", "def late():\n    from monai_smia.attacks import bim", False, True),
        ("attacks/base.py", "from monai_smia.attacks import BIM", False, True),
        ("targets/fundus.py", "from monai_smia.attacks import BIM", False, False),
        ("report/html.py", "import os", False, False),
    ],
)
def test_wrong_imports_are_found(file: str, line: str, is_upward: bool, is_circle: bool, tmp_path: Path) -> None:
    """On a small package that is right but for one line."""
    package = tmp_path / "monai_smia"
    texts = {
        "__init__.py": "",
        "attacks/__init__.py": "from monai_smia.attacks.bim import BIM",
        "attacks/base.py": "",
        "attacks/bim.py": "from monai_smia.attacks.base import Attack",
        "records/__init__.py": "",
        "report/__init__.py": "from monai_smia.report.html import write",
        "report/html.py": "from monai_smia.attacks import BIM",
        "targets/__init__.py": "",
        "targets/fundus.py": "",
    }
    for name, text in texts.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(f"{text}\n{line if name == file else ''}\n")
    graph = graph_of(package)
    assert bool(upward(graph)) == is_upward
    assert bool(circle_of(graph) or circle_of(opened(graph, package))) == is_circle


def test_files_fit_on_a_few_screens() -> None:
    files = [path for folder in ("monai_smia", "tests") for path in (ROOT / folder).rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: count for path, count in lines.items() if count > LONGEST} == {}


@pytest.mark.parametrize(
    "arguments", [["-c", "import monai_smia"], *(["-m", "monai_smia", a] for a in ("--help", "overlay"))]
)
def test_the_command_line_starts_quickly(arguments: list[str]) -> None:
    """Processor time, children included; 0.5 s is meant, and a busy machine is let be a little slower."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.8
