"""Killed, without room and two at once: `benchmarks/trouble.py` on a small scale, and on that of the documents."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "counts", [(3, 2, 1), pytest.param((200, 40, 10), marks=pytest.mark.slow)], ids=["few", "many"]
)
@pytest.mark.filterwarnings("ignore")
def test_every_result_is_that_of_a_run_without_trouble(
    counts: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2] / "benchmarks"), *sys.path])
    kills, full, pairs = importlib.import_module("trouble").measure(*counts)
    assert 0 < kills["times"] <= counts[0]
    for row in (kills, full, pairs):
        assert row["equal"] == row["results"] > 0
    assert (full["sentences"], pairs["sentences"]) == counts[1:]
