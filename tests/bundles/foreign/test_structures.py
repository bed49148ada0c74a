"""The structures of somebody else's bundle by their names, and attacks on their volume, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bundles.foreign.build import Foreign, build
from bundles.foreign.test_foreign import overlay, said_by

THREE = {"network": "three", "labels": 3, "post": [
    {"_target_": "Activationsd", "keys": "pred", "softmax": True},
    {"_target_": "AsDiscreted", "keys": ["label", "pred"], "argmax": [False, True], "to_onehot": 3},
]}  # fmt: skip


def named(bundle: Path, names: list[str]) -> Path:
    """The bundle with names in its metadata."""
    outputs = {"pred": {"channel_def": {str(number): name for number, name in enumerate(names)}}}
    (bundle / "configs" / "metadata.json").write_text(json.dumps({"network_data_format": {"outputs": outputs}}))
    return bundle


def rows_of(bundle: Path) -> dict[str, dict[str, Any]]:
    summary = json.loads((bundle / "eval" / "attack_eval" / "summary.json").read_text())
    return {r["loss"] or r["attack"]: r for r in summary["rows"] if r["stage"] == "computed"}


def test_every_structure_by_its_name_and_its_volume_down_and_up(tmp_path: Path) -> None:
    bundle = named(build(tmp_path / "bundle", Foreign(**THREE)), ["other", "left lung", "nodule"])
    overlay(bundle, {"preset": "quick", "gradients": 8, "attack#only": None, "attack#volumes": ["down", "up"]})
    found = rows_of(bundle)
    for name in ("left lung", "nodule"):
        clean, down, up = (found[row][f"volume_ml_{name}"] for row in ("Clean", "volume_down", "volume_up"))
        assert found["volume_down"][f"volume_change_ml_{name}"] == pytest.approx(down - clean)
        assert found["volume_up"][f"volume_change_ml_{name}"] == pytest.approx(up - clean)
        assert found["volume_up"][f"cv_volume_change_percent_{name}"] >= 0
        assert f"volume_change_ml_{name}" not in found["Clean"]
    totals = {
        row: sum(found[row][f"volume_ml_{name}"] for name in ("left lung", "nodule"))
        for row in ("Clean", "CosPGD", "volume_down", "volume_up")
    }
    assert totals["volume_down"] < min(totals["Clean"], totals["CosPGD"])
    assert totals["volume_up"] > max(totals["Clean"], totals["CosPGD"])
    mean = (found["Clean"]["jaccard_left lung"] + found["Clean"]["jaccard_nodule"]) / 2
    assert found["Clean"]["jaccard"] == pytest.approx(mean)  # both cases hold both
    page = (bundle / "eval" / "attack_eval" / "report.html").read_text()
    for text in (
        "left lung: overlap and surface",
        "nodule: volume, its error",
        "By class: jaccard",
        "<h2>Classes, damage, sizes and further curves</h2>",
        "surface_dice_2mm",
    ):
        assert text in page
    assert page.index('id="structures"') < page.index('<th scope="col">cv_volume_change_ml</th>')
    main = page[page.index("<caption>Every attack</caption>") : page.index("<caption>By class: jaccard")]
    assert "nodule" not in main


@pytest.mark.parametrize("names", [["other", "lung"], ["other", "lung", "lung"], ["other", "lung", "ml"]])
def test_names_that_do_not_fit_leave_numbers_and_are_said(names: list[str], tmp_path: Path, capsys: Any) -> None:
    bundle = named(build(tmp_path / "bundle", Foreign(**THREE)), names)
    overlay(bundle, {"attack#only": ["Noise"], "attack#progress": True})
    assert {"jaccard_1", "jaccard_2"} <= set(rows_of(bundle)["Clean"])
    assert "Classes go by their numbers: " in "".join(capsys.readouterr())


def test_names_of_the_users_own_come_first(tmp_path: Path) -> None:
    bundle = named(build(tmp_path / "bundle", Foreign(**THREE)), ["other", "lung", "nodule"])
    overlay(bundle, {"attack#only": ["Noise"], "attack#class_names": ["a", "b", "c"]})
    assert {"dice_b", "dice_c"} <= set(rows_of(bundle)["Clean"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack#class_names": ["a", "b"]}, "class_names must hold a name for each of the 3 channels, got ['a', 'b']"),
        ({"attack#volumes": ["left"]}, "volumes must be a list of ('down', 'up'), or None, got ['left']"),
        ({"attack#volumes": "down"}, "volumes must be a list of ('down', 'up'), or None, got 'down'"),
    ],
)
def test_refused_before_anything_is_computed(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(**THREE))
    with pytest.raises((ValueError, RuntimeError)) as caught:
        overlay(bundle, options)
    assert any(message in said for said in said_by(caught.value))
    assert not (bundle / "eval" / "attack_eval" / "records.jsonl").exists()
