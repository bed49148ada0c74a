"""Results files: what a benchmark measured, with all that is needed to measure it again, and how documents show it.

A script ends in `save`, which writes ``benchmarks/results/NAME.json``, and has `TABLES`: how its rows become tables,
and what may be concluded from them in words. ``python benchmarks/documents.py`` prints both into the documents.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import string
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from monai_smia.files import write_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("benchmarks", "results")
DATA = "MONAI_SMIA_DATA"  # environment variable: the folder that holds the real data
MODELS = "MONAI_SMIA_MODELS"  # the folder that holds networks of other people
Row = dict[str, Any]
Claims = Iterable[tuple[str, bool]]


class _Cells(string.Formatter):
    """As `str.format` of named values, which may be digits; what is None is a dash."""

    def get_value(self, key: Any, args: Any, kwargs: Any) -> Any:
        return kwargs[str(key)]

    def format_field(self, value: Any, format_spec: str) -> str:
        return "-" if value is None else str(super().format_field(value, format_spec))


def cells(rows: Iterable[Row], columns: dict[str, str]) -> list[dict[str, str]]:
    """Text of the cells, by heading.

    Args:
        rows: of a results file.
        columns: heading -> format string of a row's values, such as ``{"Jaccard": "{jaccard:.3f}"}``.
    """
    return [{head: _Cells().vformat(text, (), row) for head, text in columns.items()} for row in rows]


@dataclass(frozen=True)
class Table:
    """A table, and what is concluded from it.

    Args:
        columns: heading -> format string of a row's values; or, of the rows, the cells by heading.
        where: which rows of the results file it is made of.
        claims: of these rows: sentences, and whether each is true. They are printed below the table; one that is not
            true is an error, wherever the document is written or compared.
    """

    columns: dict[str, str] | Callable[[list[Row]], list[dict[str, str]]]
    where: Callable[[Row], bool] = lambda row: True
    claims: Callable[[list[Row]], Claims] = lambda rows: ()

    def markdown(self, rows: Sequence[Row]) -> str:
        """The table and its sentences.

        Raises:
            ValueError: if there is no row, or a sentence is not true of the rows.
        """
        chosen = [row for row in rows if self.where(row)]
        if not chosen:
            raise ValueError("no row of the results file belongs to this table.")
        claims = list(self.claims(chosen))
        if wrong := [sentence for sentence, true in claims if not true]:
            raise ValueError("not true of the rows, so change or remove it: " + " / ".join(wrong))
        lines = self.columns(chosen) if callable(self.columns) else cells(chosen, self.columns)
        heads = list(lines[0])
        text = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        text += [f"| {' | '.join(line[head] for head in heads)} |" for line in lines]
        return "\n".join([*text, *[""][: len(claims)], *(f"- {sentence}" for sentence, _ in claims)])


def add_save(parser: argparse.ArgumentParser) -> None:
    """The switch ``--save NAME`` of a benchmark, for `save`."""
    help_ = "write benchmarks/results/NAME.json, which documents are printed from"
    parser.add_argument("--save", type=_name, metavar="NAME", help=help_)


def save(
    name: str | None,
    rows: Sequence[Row],
    *,
    seeds: Sequence[Any],
    weights: Sequence[str | Path] = (),
    data: Sequence[str | Path] = (),
    device: str = "cpu",
) -> None:
    """Write ``benchmarks/results/NAME.json``: the rows, and what they were measured by, on and of.

    Args:
        name: what ``--save`` gave; None writes nothing.
        rows: flat: numbers, texts, None; pairs for intervals. As precise as measured: tables round.
        seeds: of all that was drawn.
        weights, data: files, or folders whose files are hashed as one, that the figures are of. Weights in the
            repository are compared with the file whenever the documents are.
        device: where it was computed.
    """
    if name is None:
        return
    commit, changed = trunk()
    found = {
        "script": Path(sys.argv[0]).stem,
        "command": command(),
        "commit": commit,
        "changed": changed,
        "processor": processor(device),
        "versions": {package: version(package) for package in ("torch", "monai", "numpy")},
        "seeds": list(seeds),
        "weights": {_told(path): digest(path) for path in weights},
        "data": {Path(path).name: digest(path) for path in data},
        "rows": list(rows),
    }
    write_text(ROOT / RESULTS / f"{name}.json", json.dumps(found, indent=1, allow_nan=False) + "\n")


def digest(path: str | Path) -> str:
    """SHA-256 of a file; of a folder, of the names and hashes of its files."""
    path = Path(path)
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    if not files:
        raise FileNotFoundError(f"{path} is neither a file nor a folder with files.")
    named = "".join(f"{digest(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return hashlib.sha256(named.encode()).hexdigest()


def command() -> str:
    """The command line, from the root of the repository, with the real data as ``$MONAI_SMIA_DATA``.

    Raises:
        ValueError: if it names another place, which nobody else has.
    """
    return " ".join(["python", *map(_told, sys.argv)])


def processor(device: str = "cpu") -> str:
    """Model and threads."""
    import torch  # not needed to print documents

    if device != "cpu":
        return str(torch.cuda.get_device_name(device))
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    threads = torch.get_num_threads()
    return f"{model or platform.machine()}, {threads} thread{'s' * (threads != 1)}"


def _name(name: str) -> str:
    """A name for a results file; the command line that goes with it is checked before anything is measured."""
    if not name.replace("_", "").isalnum():
        raise argparse.ArgumentTypeError(f"{name!r}: letters, digits and _ only.")
    try:
        command(), trunk()
    except (ValueError, RuntimeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name


def _told(argument: str | Path) -> str:
    """An argument of the command line as everybody may use it."""
    text = str(argument)
    if not os.path.isabs(text) and not text.endswith(".py"):
        return f'"{text}"' if "'" in text and not set(text) & set('"$`\\!') else shlex.quote(text)
    path = Path(text).resolve()
    if path.is_relative_to(ROOT):
        return path.relative_to(ROOT).as_posix()
    for variable in (DATA, MODELS):
        folder = os.environ.get(variable)
        if folder and path.is_relative_to(Path(folder).resolve()):
            return (Path(f"${variable}") / path.relative_to(Path(folder).resolve())).as_posix()
    raise ValueError(f"--save: {text} is neither in the repository nor in ${DATA}: nobody else can run this command.")


@cache
def trunk() -> tuple[str, list[str]]:
    """The last commit of the trunk that this is made of, and what differs from it, when the script began."""
    base = _git("merge-base", "HEAD", "main") or _git("rev-parse", "HEAD")
    if not base:
        raise RuntimeError("--save: not in a git repository, so that the commit of the figures is unknown.")
    changed = _git("diff", "--name-only", base, "--", "monai_smia", "bundles/*/configs/*", "bundles/*/models/*")
    return base, changed.split()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
