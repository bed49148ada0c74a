"""The overlay on foreign bundles: their clean row is their own evaluator's figure, or a sentence says why not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from bundles.foreign.build import Foreign, build
from bundles.foreign.table import FOREIGN
from monai.bundle import ConfigParser, run

from monai_smia.adapters.monai_bundle import check_bundle, overlay_path

pytestmark = pytest.mark.usefixtures("no_charts")

QUICK = {
    "attack#progress": False,
    "attack#figures": False,
    "attack#only": ["FGSM"],
    "eps": 0.05,
    "steps": 1,
    "write_volumes": "all",
}


def own_dice(bundle: Path, seeded: bool) -> float:
    """MeanDice of the bundle's own evaluator."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    parser["bundle_root"] = str(bundle)
    parser.get_parsed_content("initialize")
    evaluator: Any = parser.get_parsed_content("evaluator")
    evaluator.run()
    return float(evaluator.state.metrics["dice"].nanmean())


def overlay(bundle: Path, options: dict[str, Any]) -> tuple[dict[tuple[str, str], dict[str, Any]], dict[str, Any]]:
    """The rows of the overlay, and the configuration of the run."""
    files = [str(bundle / "configs" / "inference.json"), str(overlay_path())]
    run(run_id="attack_eval", config_file=files, bundle_root=str(bundle), **{**QUICK, **options})
    folder = bundle / "eval" / "attack_eval"
    summary = json.loads((folder / "summary.json").read_text())
    assert not summary["failures"]
    fair = [r for r in summary["rows"] if r["setting"] in ("", "equal radius") or r["setting"].startswith("round ")]
    rows = {(r["attack"], r["stage"]): r for r in fair}
    return rows, json.loads((folder / "journal" / "configuration.json").read_text())


def said_by(error: BaseException | None) -> list[str]:
    """What an error and those that it was raised from say."""
    said = []
    while error is not None:
        said.append(str(error))
        error = error.__cause__
    return said


@pytest.mark.parametrize("name", [name for name, foreign in FOREIGN.items() if not foreign.refused])
def test_the_clean_row_is_the_figure_of_the_bundles_own_evaluator(name: str, tmp_path: Path) -> None:
    foreign: Foreign = FOREIGN[name]
    bundle = build(tmp_path / "bundle", foreign)
    assert check_bundle([str(bundle / "configs" / "inference.json")], foreign.options) == []
    assert not (bundle / "eval").exists()
    rows, configuration = overlay(bundle, foreign.options)
    clean, computed = rows["Clean", "computed"], rows["FGSM", "computed"]
    if not foreign.options:
        assert clean["dice"] == pytest.approx(own_dice(bundle, False), abs=1e-6)
    assert (configuration["pipeline"]["space"] is True) is (foreign.space == "scanner")
    assert clean["agreement"] > 0.95
    assert 0.15 < clean["dice"] < 0.99
    assert computed["dice"] < clean["dice"]
    stored = rows.get(("FGSM", "stored"))
    assert (stored is not None) is (foreign.stored or foreign.space == "network")
    if stored is not None:
        assert stored["dice"] == pytest.approx(computed["dice"], abs=0.01)


@pytest.mark.parametrize("name", [name for name, foreign in FOREIGN.items() if foreign.refused])
def test_what_cannot_be_evaluated_is_refused_before_anything_is_computed(name: str, tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", FOREIGN[name])
    with pytest.raises((ValueError, RuntimeError)) as caught:
        overlay(bundle, {})
    said = said_by(caught.value)
    (stops,) = check_bundle([str(bundle / "configs" / "inference.json")])  # says the same beforehand
    assert stops in said
    assert any(re.search(FOREIGN[name].refused, text) for text in said), said
    assert not (bundle / "eval" / "attack_eval").exists()
