from __future__ import annotations

from pathlib import Path

import pytest

from monai_smia.records import EvaluationSpec, PlannedRow, Primary, RecordVersionError, RowKey

SPEC = EvaluationSpec(
    network="UNet",
    gradient_through=["Compose", "UNet"],
    unit="HU",
    device="cpu",
    primary=Primary("jaccard", True),
    rows=[PlannedRow(RowKey()), PlannedRow(RowKey("BIM", eps=0.1), False, {"steps": 10, "step_size": None})],
    about={"hazard": "R-7"},
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    SPEC.write(tmp_path)
    assert EvaluationSpec.read(tmp_path) == SPEC


def test_a_folder_of_version_0_1_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(RecordVersionError, match=r"holds no spec\.json.*0\.1\.0.*resume=False"):
        EvaluationSpec.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        EvaluationSpec.read(tmp_path / "absent")


def test_the_headline_metric_where_no_case_has_it() -> None:
    primary = Primary("map50", True)
    assert primary.among([{"map50": None}, {"map50": 0.5}]) == primary
    assert primary.among([{"map50": None, "damage": 0.5}]) == Primary("damage", False)
