from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from record_helpers import record

from monai_smia.records import COMPUTED, STORED, Costs, Failure, Probe, Provenance, Record, RecordVersionError, RowKey
from monai_smia.records.record import read_records, write_records

ORIGIN = Provenance("1a", "2b", "3c", "python 3.11")
FULL = Record(
    row=RowKey("SMIA", "equal radius", "soft_jaccard", 0.05, 70.0, "HU", "linf", 10, 1.0),
    stage=COMPUTED,
    case="a",
    patient="p",
    strata={"scanner": "A"},
    seed=7,
    metrics={"jaccard": 0.25, "hd95": None, "grade": 3, "probabilities": [0.5, 0.5], "damage": 0.75},
    costs=Costs(1.5, 19, 19, 0),
    history={"loss": [1.0, None]},
    probe=Probe(False, 0.0, 0.5, 0.25),
    provenance=ORIGIN,
)


@pytest.mark.parametrize(
    "one",
    [
        FULL,
        Record(RowKey(), COMPUTED, "a"),
        FULL.at(STORED, {"jaccard": 0.5}, below_quantization=True),
        Failure("b", "invalid case", "ValueError: x", "p", ORIGIN),
    ],
)
def test_what_is_written_is_read_again(one: Record | Failure, tmp_path: Path) -> None:
    write_records(tmp_path, [one])
    assert read_records(tmp_path) == [one]


def test_files_are_flat_and_say_their_version(tmp_path: Path) -> None:
    write_records(tmp_path, [FULL])
    flat = json.loads((tmp_path / "records.jsonl").read_text())
    expected = {"attack": "SMIA", "eps": 0.05, "stage": "computed", "jaccard": 0.25, "gradients": 19, "status": "ok"}
    expected |= {"zero_gradient_steps": 0, "key": "a|smia_soft_jaccard_equal-radius_eps0.05", "version": 2}
    assert {name: flat[name] for name in expected} == expected


def test_a_later_stage_keeps_the_identity_and_no_time() -> None:
    stored = FULL.at(STORED, {"jaccard": 0.5})
    assert (stored.row, stored.case, stored.seed, stored.metrics) == (FULL.row, "a", 7, {"jaccard": 0.5})
    assert (stored.costs, stored.history) == (Costs(gradients=19), None)
    assert "planned_gradients" not in stored.to_json()


def test_records_of_version_0_1_are_refused_with_what_to_do(tmp_path: Path) -> None:
    old = {name: value for name, value in FULL.to_json().items() if name != "version"}
    (tmp_path / "records.jsonl").write_text(json.dumps(old) + "\n")
    with pytest.raises(RecordVersionError, match=r"the record of case 'a' is of monai_smia 0\.1\.0.*output_dir"):
        read_records(tmp_path)
    (tmp_path / "records.jsonl").write_text(json.dumps(old | {"version": 3}) + "\n")
    with pytest.raises(RecordVersionError, match="of format 3, and this version reads format 2"):
        read_records(tmp_path)


def test_a_metric_that_would_hide_a_fact_is_refused() -> None:
    with pytest.raises(ValueError, match=r"metrics must not be named.*\['stage'\]"):
        record(**{"jaccard": 0.5}).at(STORED, {"stage": 0.5})
    assert replace(FULL, metrics={"damage": 0.5}).number("damage") == 0.5
