from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # for networks this small two threads only wait for each other
DATA = Path(os.environ.get("MONAI_SMIA_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """A folder of real data; the test is skipped where it is absent."""

    def folder(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"needs the real data in {DATA / name}: set MONAI_SMIA_DATA")
        return DATA / name

    return folder
