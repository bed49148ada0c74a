"""Memory that was freed is used again, and whoever chose otherwise is left alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from monai_smia.evaluation import memory

PAGES = """
import resource, runpy, sys
import torch
keep_freed_memory = runpy.run_path(sys.argv[1])["keep_freed_memory"]
def pages():
    torch.ones(1 << 24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        assert torch.ones(1 << 24).sum() == 1 << 24  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(pages(), keep_freed_memory(), pages())
"""
glibc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator is that of glibc")


@glibc
def test_a_freed_block_serves_the_next_one() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", PAGES, memory.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    before, kept, after = done.stdout.split()
    assert kept == "True"
    assert int(after) < int(before) / 3, "twenty blocks of 64 MB brought in as many pages as before"


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_whoever_set_the_allocator_is_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "2")
    assert memory.keep_freed_memory() is False
