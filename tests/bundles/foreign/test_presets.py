"""The presets on a bundle of somebody else's: the strongest attacks of its task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundles.foreign.build import Foreign, build
from bundles.foreign.detection import RAS, with_boxes
from bundles.foreign.test_detection import scripts_of_its_own
from bundles.foreign.test_foreign import overlay

__all__ = ["scripts_of_its_own"]


def test_of_a_segmentation(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign())
    overlay(bundle, {"preset": "quick", "attack#only": None})
    summary = json.loads((bundle / "eval" / "attack_eval" / "summary.json").read_text())
    rows = [row for row in summary["rows"] if row["stage"] == "computed"]
    first = [("APGD", 10), ("APGD", 10), ("CosPGD", 5), ("Square", 0)]
    assert [row["attack"] for row in rows[:3]] == ["Clean", "Noise", "SMIA"]
    assert [(row["attack"], row["gradients"]) for row in rows[3:7]] == first
    assert [row["gradients"] for row in rows if (row["attack"], row["loss"]) == ("APGD", "soft_jaccard")][:1] == [10]
    assert rows[3]["dice"] < rows[1]["dice"] - 0.05
    assert not [flag for flag in summary["flags"] if flag["name"] == "zero gradients"]


def test_of_a_detector_with_fewer_gradients(tmp_path: Path) -> None:
    bundle = with_boxes(tmp_path / "bundle", RAS)
    rows, _ = overlay(bundle, {"preset": "quick", "gradients": 4, "attack#only": None})
    assert {"Clean", "APGD", "DAG", "SMIA"} <= {name for name, _ in rows}
    assert rows["APGD", "computed"]["iou"] <= rows["Clean", "computed"]["iou"]


def test_an_unknown_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises((ValueError, RuntimeError)) as caught:
        overlay(build(tmp_path / "bundle", Foreign()), {"preset": "strong"})
    names = "'paper', 'quick', 'standard', 'thorough', 'radius', 'shifts', 'frequency', 'blackbox'"
    assert f"preset must be one of ({names}), got 'strong'" in str(caught.value.__cause__ or caught.value)
