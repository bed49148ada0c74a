from __future__ import annotations

import gc
import os
import random
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle.config_item import ComponentLocator

torch.set_num_threads(1)  # for networks this small two threads only wait for each other
os.fsync = os.fstat  # the disk of a test need not outlast a power cut; a closed file is still an error
DATA = Path(os.environ.get("MONAI_SMIA_DATA", Path(__file__).parents[2] / "shared" / "data"))
# the same numbers on a processor, without the stack of calls that torch notes for every other kind of device
seed_torch = torch.manual_seed if torch.cuda.is_available() else torch.default_generator.manual_seed
SEED = os.environ.get("MONAI_SMIA_TEST_SEED", "")  # any word: other random numbers, in every test


class OnceLocator:
    """MONAI's search for names, made anew by every parser of a config, once for the same modules."""

    search = ComponentLocator._find_classes_or_functions
    found: dict[tuple[str, ...], dict[str, list[str]]] = {}

    @classmethod
    def of(cls, locator: ComponentLocator, names: Sequence[str]) -> dict[str, list[str]]:
        key = tuple(names)
        if key not in cls.found:
            cls.found[key] = cls.search(locator, key)
        return cls.found[key]


ComponentLocator._find_classes_or_functions = lambda self, names: OnceLocator.of(self, names)


def draw_as(name: str) -> None:
    """Makes random numbers those of a name: what fails once fails again, alone and in any order."""
    seed = zlib.crc32((name + SEED).encode())
    seed_torch(seed)
    np.random.seed(seed)
    random.seed(seed)


def pytest_collectstart(collector: pytest.Collector) -> None:
    draw_as(collector.nodeid)


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> None:
    draw_as(f"{request.node.nodeid} {fixturedef.argname}")


def pytest_runtest_call(item: pytest.Item) -> None:
    draw_as(item.nodeid)


def pytest_collection_finish() -> None:
    """What has been imported and collected stays: it need not be looked through for garbage, nor copied by forks."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report without its charts, for tests of many evaluations: drawing them would take most of the time."""
    monkeypatch.setattr("monai_smia.report.html.charts", lambda *args, **options: [])


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """A folder of real data; the test is skipped where it is absent."""

    def folder(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"needs the real data in {DATA / name}: set MONAI_SMIA_DATA")
        return DATA / name

    return folder
