"""Misspelt arguments of attacks and victims are found before anything runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SNIPPET = Path(__file__).with_name("typing_snippet.py")


def test_mypy_rejects_what_is_misspelt_and_nothing_else() -> None:
    root = SNIPPET.parents[1]
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(SNIPPET.relative_to(root))]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert not run.stderr
    reported = {int(line) for line in re.findall(r"^tests/typing_snippet\.py:(\d+): error:", run.stdout, re.M)}
    lines = SNIPPET.read_text().splitlines()
    assert reported == {number for number, line in enumerate(lines, 1) if line.endswith("# error")}, run.stdout
    assert run.stdout.count(": error:") == len(reported), run.stdout  # none in the package either
