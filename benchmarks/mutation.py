"""Does a test fail when the code is broken? Small changes to the package, one at a time, and the tests of their room.

    python benchmarks/mutation.py                                  # 160 changes, all rooms: an hour or two on one core
    python benchmarks/mutation.py --rooms attacks threat.py --count 40 --seed 1
    python benchmarks/mutation.py --only monai_smia/threat.py:63   # every change of one line, or of a file

Every change swaps an operator, a comparison or a boolean, moves a number, drops a ``not``, a branch or a type that is
asked for. The package is copied, changed in the copy, and those tests of the room that run the changed line run on it
until the first fails: those of the changed file first, then the quickest. A run on the unchanged copy says which test
runs which line; what fails there is left out. Tests that take three times as long as there, and a minute, do not end:
that is noticed, too. Text is not changed: what an error says is no figure, and a test that repeats it word for word
proves nothing; that an error is raised at all is a branch, and is. Changes are made in the order in which they were
drawn: of a draw that is stopped, those made are a smaller one.

Printed are the changes that no test noticed, each with the reason that `mutation_survivors.txt` gives for it, where it
gives one, then the share that was noticed. A change with a reason counts as a survivor like any other.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from measured import Row, Table, add_save, save
from mutants import ROOT, Change, changes_of, statement

NO_END = "(no end)"
ENOUGH = 30  # calls of a function in one test that its lines are noted of
REASONS = Path(__file__).with_name("mutation_survivors.txt")
ROOMS = {  # room: tests that are to notice
    "threat.py": ["tests/test_threat.py", "tests/attacks/test_truth.py", "tests/attacks/test_pgd.py"],
    "attacks": ["tests/attacks"],
    "victims": ["tests/victims"],
    "inferers": ["tests/inferers"],
    "metrics": ["tests/metrics"],
    "records": ["tests/records", "tests/evidence", "tests/evaluation/test_resume.py"],
    "analysis": ["tests/analysis", "tests/report"],
    "evaluation": ["tests/evaluation", "tests/handlers"],
    "storage": ["tests/storage", "tests/evaluation/test_runner.py"],
    "dicom": ["tests/dicom", "tests/storage/test_dicom.py", "tests/targets/test_not_what_they_seem.py"],
    "degradations": ["tests/degradations"],
}


def chosen(options: argparse.Namespace) -> list[Change]:
    """The changes to make: those of the lines that are asked for, or so many of all, drawn by the seed."""
    found = changes_of(options.rooms)
    if options.only:
        names = [(change, str(change.path.relative_to(ROOT))) for change in found]
        return [c for c, name in names if name in options.only or f"{name}:{c.place[0]}" in options.only]
    return random.Random(options.seed).sample(found, min(options.count, len(found)))


class Run:
    """One run of tests, as a plugin of pytest: which of them, in what order, and what came of it.

    Args:
        order: names of tests; None for all. Where it is None, the lines of the package that every test runs are noted,
            those that run while a test is set up for all tests of its file.
    """

    def __init__(self, work: Path, order: list[str] | None) -> None:
        self.package, self.order = f"{work}/monai_smia/", order
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self.seen: dict[str, set[str]] = {}  # by test, or by file of tests
        self.now: set[str] = set()
        self.calls: Counter[int] = Counter()  # in one test

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.order is not None:
            place = {name: number for number, name in enumerate(self.order)}
            items[:] = sorted((i for i in items if i.nodeid in place), key=lambda item: place[item.nodeid])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.now = self.seen.setdefault(item.nodeid.split("::")[0], set())
        if self.order is None:
            sys.settrace(self.called)
        try:
            return (yield)
        finally:
            sys.settrace(None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        before, self.now = self.now, self.seen.setdefault(item.nodeid, set())
        self.calls.clear()
        try:
            return (yield)
        finally:
            self.now = before

    def called(self, frame: Any, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        self.calls[id(frame.f_code)] += name.startswith(self.package)
        if not 1 <= self.calls[id(frame.f_code)] <= ENOUGH:
            return None
        name = name[len(self.package) :]
        self.now.add(f"{name}:{frame.f_lineno}")

        def line(frame: Any, event: str, argument: Any) -> Any:
            self.now.add(f"{name}:{frame.f_lineno}")
            return line

        return line


def in_child(work: Path, tests: list[str], order: list[str] | None, result: Path, seconds: int) -> None:
    """Run tests in a fork, on the copy of the package."""
    os.setsid()
    os.chdir(work)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))  # of the processor: a machine may be busy otherwise
    sys.path[0] = str(work)  # instead of this file's folder
    for name in [name for name in sys.modules if name.split(".")[0] == "monai_smia"]:
        del sys.modules[name]
    os.environ["PYTHONPATH"] = str(work)
    sink = os.open(result.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(sink, stream)
    run = Run(work, order)
    code = pytest.main([*(["-x"] if order else []), "-q", "-p", "no:cacheprovider", *tests], plugins=[run])
    changed = Path(importlib.import_module("monai_smia").__file__ or "")
    assert changed.is_relative_to(work), f"the tests ran on {changed}"
    seen = {name: sorted(lines) for name, lines in run.seen.items()} if order is None else {}
    result.write_text(json.dumps({"code": int(code), "seconds": run.seconds, "failed": run.failed, "seen": seen}))


def outcome_of(work: Path, tests: list[str], order: list[str] | None, seconds: int) -> dict:
    """What the tests said."""
    result = work / "outcome.json"
    result.unlink(missing_ok=True)
    child = multiprocessing.get_context("fork").Process(target=in_child, args=(work, tests, order, result, seconds))
    child.start()
    child.join(20 * seconds)
    ended = not child.is_alive() and child.exitcode not in (-signal.SIGXCPU, -signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # type: ignore[type-var, arg-type]  # a started process has one
    child.join()
    failure = {"code": 1, "seconds": {}, "failed": ["(crashed)" if ended else NO_END], "seen": {}}
    return json.loads(result.read_text()) if result.exists() and ended else failure


class Tests:
    """The tests of a room, how long each takes, and which of them run a line; what fails unchanged is none of them.

    Raises:
        RuntimeError: if none is left.
    """

    def __init__(self, room: str, work: Path, without: Sequence[str] = ()) -> None:
        left_out = [option for name in without for option in (f"--ignore={name}", f"--deselect={name}")]
        unchanged = outcome_of(work, [*ROOMS[room], *left_out], None, 3600)
        failed = unchanged["failed"]
        self.seconds: dict[str, float] = {t: s for t, s in unchanged["seconds"].items() if t not in failed}
        if failed:
            print(f"left out, failing on the unchanged code: {', '.join(failed)}", flush=True)
        if not self.seconds:
            raise RuntimeError(f"no test of {room} passes on the unchanged code.")
        self.by_line: dict[str, set[str]] = {}
        for name, lines in unchanged["seen"].items():
            for line in lines:
                self.by_line.setdefault(line, set()).add(name)

    def of(self, change: Change) -> list[list[str]]:
        """The tests that run a changed line, the quickest first: those of the file, then the others."""
        at_import, lines = statement(ast.parse(change.path.read_text(encoding="utf-8")), change.place)
        name = str(change.path.relative_to(ROOT / "monai_smia"))
        reached = set().union(*(self.by_line.get(f"{name}:{line}", set()) for line in lines))
        tests = [t for t in self.seconds if at_import or t in reached or t.split("::")[0] in reached]
        tests.sort(key=lambda test: self.seconds[test])
        own = [test for test in tests if Path(test.split("::")[0]).name.startswith(f"test_{change.path.stem}")]
        return [part for part in (own, [test for test in tests if test not in own]) if part]

    def limit(self, tests: list[str], least: int) -> int:
        """Seconds of the processor after which a run of tests counts as one without end."""
        return least + math.ceil(3 * sum(self.seconds[test] for test in tests))


def reasons() -> dict[str, str]:
    """Why a known survivor survives, by its key."""
    if not REASONS.exists():
        return {}
    blocks = REASONS.read_text(encoding="utf-8").split("\n\n")
    lines = [block.strip().split("\n", 1) for block in blocks if not block.startswith("#")]
    return {parts[0]: " ".join(parts[1].split()) for parts in lines if len(parts) == 2}


def by_room(rows: list[Row]) -> list[dict[str, str]]:
    """How many changes of every room were noticed, and of all."""
    lines = []
    rooms = {row["room"] for row in rows}
    for room in [*(room for room in ROOMS if room in rooms), "all"]:
        outcomes = [row["noticed_by"] for row in rows if room in (row["room"], "all")]
        noticed = sum(outcome is not None for outcome in outcomes)
        line = {"room": room, "changes": len(outcomes), "noticed": noticed, "share": f"{noticed / len(outcomes):.1%}"}
        lines.append({name: str(value) for name, value in {**line, "by not ending": outcomes.count(NO_END)}.items()})
    return lines


def survivors(rows: list[Row]) -> list[dict[str, str]]:
    """The changes that no test noticed, and why, as far as `mutation_survivors.txt` knows by now."""
    known = reasons()
    found = [(row["change"].replace("|", "\\|"), row["key"]) for row in rows if row["noticed_by"] is None]
    return [{"change": f"`{change}`", "why": known.get(key, "not known")} for change, key in sorted(found)]


TABLES = {"table": Table(by_room), "survivors": Table(survivors)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", nargs="+", default=list(ROOMS), choices=list(ROOMS), metavar="ROOM")
    parser.add_argument("--only", nargs="+", metavar="FILE[:LINE]", help="every change there instead of a draw")
    parser.add_argument("--count", type=int, default=160, help="changes to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", type=int, default=0, help="so many of the draw, which are done")
    parser.add_argument("--without", nargs="+", default=[], help="tests left out: what they alone notice, survives")
    parser.add_argument("--minutes", type=float, default=math.inf, help="to stop after: what is done is a smaller draw")
    parser.add_argument("--seconds", type=int, default=60, help="of the processor, beside what tests take unchanged")
    add_save(parser)
    options = parser.parse_args()
    changes, known, begin = chosen(options)[options.skip :], reasons(), time.monotonic()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve()
        files = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for name in files.splitlines():
            if (ROOT / name).is_file():
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, work / name)
        rooms: dict[str, Tests] = {}
        for number, change in enumerate(changes, 1):
            if time.monotonic() - begin > 60 * options.minutes:
                break
            if change.room not in rooms:
                rooms[change.room] = Tests(change.room, work, options.without)
            target = work / change.path.relative_to(ROOT)
            source = target.read_text(encoding="utf-8")
            parts, outcome = rooms[change.room].of(change), {"code": 0, "failed": []}
            target.write_text(ast.unparse(change.nodes()[0]), encoding="utf-8")
            for order in parts:
                paths = list(dict.fromkeys(test.split("::")[0] for test in order))
                outcome = outcome_of(work, paths, order, rooms[change.room].limit(order, options.seconds))
                if outcome["code"]:
                    break
            target.write_text(source, encoding="utf-8")
            for compiled in target.parent.glob(f"__pycache__/{target.stem}.*"):  # a second decides whether it is newer
                compiled.unlink()
            by = None if outcome["code"] == 0 else ", ".join(outcome["failed"]) or f"code {outcome['code']}"
            rows.append({"room": change.room, "change": str(change), "key": change.key, "noticed_by": by})
            if by is None:
                reason = known.get(change.key, f"no reason known; its key: {change.key}")
                print(f"survives {sum(map(len, parts))} tests: {change}\n    {reason}", flush=True)
            print(f"{number} of {len(changes)}: {change} | {by}", file=sys.stderr, flush=True)
    save(options.save, rows, seeds=[options.seed])
    for row in by_room(rows):
        print("{room}: {noticed} of {changes} changes noticed ({share}), {by not ending} by not ending".format(**row))


if __name__ == "__main__":
    import ignite.engine  # noqa: F401  # loaded once, here: a fork begins with them
    import matplotlib.pyplot  # noqa: F401
    import monai.inferers
    import monai.transforms  # noqa: F401
    import torch

    torch.set_num_threads(1)
    main()
