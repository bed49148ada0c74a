"""Prints the tables of all documents from the results files, or says where a document and its file differ.

    python benchmarks/documents.py            # writes README.md, docs, benchmarks/README.md and the bundles' pages
    python benchmarks/documents.py --check    # writes nothing; ends with 1 where something differs

A document holds ``<!-- results: NAME TABLE -->`` and, below it, ``<!-- end -->``. What is between them is replaced by
the table TABLE of `TABLES` in the script that wrote ``benchmarks/results/NAME.json`` (left out: the one called as the
file, or "table"), its sentences and, below the last table of a file on a page, its command, commit and processor. It is
an error where a sentence is not true of the rows, where a results file is in no document, and where weights are no
longer those that were measured. A results file whose command and weights are called as files are today, and not as at
its commit, says in "renamed" what was called how.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from measured import RESULTS, ROOT, digest

from monai_smia.files import write_text

PAGES = ("README.md", "docs/**/*.md", "benchmarks/README.md", "bundles/*/docs/*.md")
BLOCK = re.compile(r"<!-- results: (\w+)(?: (\w+))? -->\n((?:(?!<!-- results:).)*?)<!-- end -->", re.DOTALL)
NAMED = 3  # changed files, of which the line of a table tells the names


def pages(root: Path) -> list[Path]:
    """The documents."""
    return sorted(path for pattern in PAGES for path in root.glob(pattern))


def results(root: Path) -> dict[str, dict[str, Any]]:
    """The results files by name."""
    files = sorted((root / RESULTS).glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


def source(name: str, result: dict[str, Any], page: Path, root: Path) -> str:
    """The line that says how a table came about."""
    link = os.path.relpath(root / RESULTS / f"{name}.json", page.parent)
    versions = [f"{package} {result['versions'][package]}" for package in ("torch", "monai")]
    changed = result["changed"]
    what = ", ".join(changed) if len(changed) <= NAMED else f"{len(changed)} files, which it names"
    commit = f"commit {result['commit'][:7]}" + (f" with a change of {what}" if changed else "")
    commit += ", since when files were renamed" if "renamed" in result else ""
    return f"`{result['command']}` ([{', '.join([commit, result['processor'], *versions])}]({link}))"


def printed(page: Path, root: Path, found: dict[str, dict[str, Any]]) -> str:
    """A document as it should be.

    Raises:
        ValueError: if a mark names no results file or no table, or a sentence does not hold.
    """
    text = page.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    if len(blocks) != text.count("<!-- results:"):
        raise ValueError("a mark `<!-- results: NAME TABLE -->` has no `<!-- end -->`.")
    last = {block[1]: block.start() for block in blocks}

    def block_of(block: re.Match[str]) -> str:
        name = block[1]
        if name not in found:
            raise ValueError(f"{RESULTS / name}.json does not exist.")
        tables = importlib.import_module(found[name]["script"]).TABLES
        table = block[2] or (name if name in tables else "table")
        if table not in tables:
            raise ValueError(f"{found[name]['script']}.py has no table {table!r}; it has {sorted(tables)}.")
        try:
            body = tables[table].markdown(found[name]["rows"])
        except ValueError as error:
            raise ValueError(f"{name}, {table}: {error}") from None
        except KeyError as error:
            raise ValueError(f"{name}, {table}: there is no {error} in a row.") from None
        told = f"\n\n{source(name, found[name], page, root)}" if last[name] == block.start() else ""
        return f"{block[0].partition(chr(10))[0]}\n{body}{told}\n<!-- end -->"

    return BLOCK.sub(block_of, text)


def stale(root: Path, found: dict[str, dict[str, Any]]) -> list[str]:
    """Results files that no document shows, and weights that have changed since."""
    shown = {block[1] for page in pages(root) for block in BLOCK.finditer(page.read_text(encoding="utf-8"))}
    told = [f"{RESULTS / name}.json is in no document." for name in sorted(found.keys() - shown)]
    for name, result in found.items():
        for weights, known in result["weights"].items():
            path = root / os.path.expandvars(weights)
            if weights.startswith("$") and not path.is_file():
                continue  # networks of other people, which are not here
            if not path.is_file() or digest(path) != known:
                told.append(f"{RESULTS / name}.json was measured with another {weights}: {result['command']}")
    return told


def main(root: Path = ROOT) -> int:
    """Write or compare; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    found = results(root)
    wrong = stale(root, found)
    for page in pages(root):
        try:
            text = printed(page, root, found)
        except ValueError as error:
            wrong.append(f"{page.relative_to(root)}: {error}")
            continue
        if text == page.read_text(encoding="utf-8"):
            continue
        if check:
            wrong.append(f"{page.relative_to(root)} is not what its results files say: python benchmarks/documents.py")
        else:
            write_text(page, text)
            print(f"{page.relative_to(root)} printed")
    print("\n".join(wrong), end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
