from __future__ import annotations

import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # for networks this small two threads only wait for each other
DATA = Path(os.environ.get("MONAI_SMIA_DATA", Path(__file__).parents[2] / "shared" / "data"))
SEED = os.environ.get("MONAI_SMIA_TEST_SEED", "")  # any word: other random numbers, in every test


def draw_as(name: str) -> None:
    """Makes random numbers those of a name: what fails once fails again, alone and in any order."""
    seed = zlib.crc32((name + SEED).encode())
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def pytest_collectstart(collector: pytest.Collector) -> None:
    draw_as(collector.nodeid)


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> None:
    draw_as(f"{request.node.nodeid} {fixturedef.argname}")


def pytest_runtest_call(item: pytest.Item) -> None:
    draw_as(item.nodeid)


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """A folder of real data; the test is skipped where it is absent."""

    def folder(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"needs the real data in {DATA / name}: set MONAI_SMIA_DATA")
        return DATA / name

    return folder
