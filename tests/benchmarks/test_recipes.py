"""Weights that ship are what the shipped configs give: the documents say so of every file."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "bundles").glob("*/models/*.pt"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parents[1].name}/{file.name}")
def test_a_file_is_the_output_of_its_command_or_measured_beside_it(file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    readme = (file.parents[1] / "docs" / "README.md").read_text(encoding="utf-8")
    beside = [json.loads(found.read_text()) for found in ROOT.glob("benchmarks/results/recipe_*.json")]
    measured = {rows[0]["sha256"]: rows[1]["sha256"] for rows in (found["rows"] for found in beside)}
    if digest not in readme:
        assert digest[:12] in measured, f"neither is {file.name} the output of a command, nor is one measured beside it"
        assert digest[:12] in readme
        assert measured[digest[:12]] in readme


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks" / "results").glob("*.json")), ids=lambda file: file.stem)
def test_a_results_file_names_no_folder_of_a_machine(file: Path) -> None:
    assert not re.search(r"/(tmp|home|root|work|Users)/", file.read_text(encoding="utf-8"))
