"""``--stop_at never`` of the fundus bundle: attacks take all their steps, but DeepFool, which ends at the boundary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bundles.shipped import FUNDUS

from monai_smia.targets.fundus import fundus_datalist, write_fundus_phantoms

STEPS = 3


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """One healthy eye, which the network grades rightly."""
    return fundus_datalist(write_fundus_phantoms(tmp_path_factory.mktemp("eyes"), 1, grades=[0], size=256, seed=77))


def rows_of(cases: list[dict[str, Any]], folder: Path, stop_at: str | float) -> dict[tuple[str, str], dict[str, Any]]:
    options = {"preset": "paper", "steps": STEPS, "eps": 4 / 255, "datalist": cases, "write_volumes": "none"}
    parser = FUNDUS.parser("attack_eval", output_dir=str(folder), stop_at=stop_at, **options)
    for part in ("initialize", "evaluation"):
        content = parser.get_parsed_content(part)
    content.progress, content.figure, content.storage, content.num_probed_cases = False, None, None, 0
    content.attacks = [row for row in content.attacks if row.name in ("Clean", "BIM", "DeepFool")]
    return {(row["attack"], row["setting"]): row for row in content.run()["rows"]}


def test_never_takes_all_steps_and_deepfool_ends_at_the_boundary(cases: list[dict[str, Any]], tmp_path: Path) -> None:
    rows = rows_of(cases, tmp_path / "never", "never")
    assert rows["Clean", ""]["accuracy"] == 1
    assert rows["BIM", "equal radius"]["gradients"] == STEPS
    for setting in ("equal radius", "paper"):
        found = rows["DeepFool", setting]
        assert found["accuracy"] == 0
        assert 0 < found["gradients"] <= 4 * STEPS  # of each step one for every other grade
        assert 0 < found["linf"] <= 4.0
    stopped = rows_of(cases, tmp_path / "stopped", 1.0)
    assert stopped["BIM", "equal radius"]["gradients"] < STEPS  # a single gradient is enough here
    for setting in ("equal radius", "paper"):
        first, second = (each["DeepFool", setting] for each in (rows, stopped))
        assert [first[name] for name in ("gradients", "linf")] == [second[name] for name in ("gradients", "linf")]
