"""What real bundles of the zoo do and others do not: attacked with their configs untouched, or named in a sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import run

from bundles import zoo_shapes
from monai_smia.adapters import OVERLAY
from monai_smia.adapters.monai_bundle import check_bundle
from monai_smia.adapters.monai_bundle.decisions import ChannelsError, DecisionRule
from monai_smia.command_line import check_arguments

QUICK = {"attack#progress": False, "attack#figures": False, "attack#only": ["Noise", "PGD"], "write_volumes": "none"}


def attack_eval(bundle: Path, **overrides: Any) -> tuple[dict[tuple[str, str | None], Any], list[str]]:
    """The rows by attack and loss, equal radius only, and what the page says of limitations."""
    files = [str(bundle / "configs" / "inference.json"), str(OVERLAY)]
    given = {"eps": 0.1, "steps": 2, "preset": "paper", **QUICK, **overrides}
    run(run_id="attack_eval", config_file=files, bundle_root=str(bundle), **given)
    folder = bundle / "eval" / "attack_eval"
    rows = json.loads((folder / "summary.json").read_text())["rows"]
    said = json.loads((folder / "spec.json").read_text())["about"]["limitations"]
    return {(r["attack"], r["loss"]): r for r in rows if r["setting"] in ("", "equal radius")}, said


def test_an_image_that_a_step_of_the_bundles_own_joins(tmp_path: Path) -> None:
    rows, _ = attack_eval(zoo_shapes.joined(tmp_path / "phases"))
    assert rows["Clean", None]["jaccard"] == 1
    assert rows["Clean", None]["agreement"] == 1
    assert rows["PGD", "soft_jaccard"]["jaccard"] < 0.9 * rows["Noise", None]["jaccard"]


def test_channels_that_are_merged_in_the_end_are_judged_before(tmp_path: Path) -> None:
    """Figures are those of the same bundle without that step, to the last digit."""
    (ours, said), (theirs, plain) = (
        attack_eval(zoo_shapes.merged(tmp_path / str(merged), in_the_end=merged)) for merged in (True, False)
    )
    names = ("jaccard", "dice", "jaccard_0", "jaccard_1", "linf")
    for key, row in theirs.items():
        assert {name: ours[key].get(name) for name in names} == {name: row.get(name) for name in names}
    told = "Postprocessing makes one map of the network's 2 channels in the end (Lambdad): figures are of the channels"
    assert any(text.startswith(told) for text in said)
    assert not any(text.startswith("Postprocessing") for text in plain)


def test_a_map_that_is_interpolated_counts_as_the_nearest_class(tmp_path: Path) -> None:
    rows, said = attack_eval(zoo_shapes.interpolated(tmp_path / "ct"))
    assert rows["Clean", None]["jaccard"] == 1
    assert rows["PGD", None]["jaccard"] < 0.9
    assert any("figures are of the nearest class" in text for text in said)


def test_the_nearest_class_and_what_is_no_decision() -> None:
    rule = DecisionRule("softmax", channels=3)
    values = torch.tensor([[[0.0, 0.4, 0.6, 2.0]]])
    assert rule.is_interpolated(values)
    assert not rule.is_interpolated(values.round())
    assert rule.decided(values).argmax(1).tolist() == [[[0, 0, 1, 2]]]
    with pytest.raises(ValueError, match="whole numbers from 0 to 2, got values from 0 to 3"):
        rule.decided(torch.tensor([[[0.0, 2.6]]]))
    with pytest.raises(ChannelsError, match="a map of classes or the network's 3 channels, got 2"):
        rule.decided(torch.zeros(2, 4, 4))


def test_a_prompt_stays_fixed_case_by_case(tmp_path: Path) -> None:
    """One case is prompted for what is dark, the other for what is bright: their decisions are complements."""
    bundle = zoo_shapes.prompted(tmp_path / "prompted")
    assert check_bundle([str(bundle / "configs" / "inference.json")]) == []
    rows, _ = attack_eval(bundle)
    assert rows["Clean", None]["agreement"] == 1
    assert rows["Clean", None]["cases"] == 2
    assert rows["PGD", "soft_jaccard"]["jaccard"] < 0.9 * rows["Noise", None]["jaccard"]


def changed(bundle: Path, **ids: Any) -> Path:
    """The bundle's config, with some ids as given."""
    file = bundle / "configs" / "inference.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **ids}))
    return file


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            {"imports": ["$import absent"], "network": "$absent.Net()"},
            "the bundle needs the package absent, which is not installed here.",
        ),
        (
            {"network_def": {"_target_": "torch.nn.Conv3d", "img_size": 3}},
            "the bundle does not run here by itself: TypeError: Conv3d.__init__() got an unexpected keyword argument",
        ),
        ({"datalist": []}, "evaluator must have a data loader of a MONAI Dataset"),
    ],
)
def test_the_check_says_whose_error_it_is(ids: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = changed(zoo_shapes.merged(tmp_path / "ct", in_the_end=False), **ids)
    (said,) = check_bundle([str(file)])
    assert said.startswith(message)
    assert "\n" not in said


def test_an_id_that_no_config_has_and_the_overlay_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle without output_dir: `--check` says to add it, and then it is taken."""
    bundle = zoo_shapes.merged(tmp_path / "ct", in_the_end=False)
    file = bundle / "configs" / "inference.json"
    config = json.loads(file.read_text())
    del config["output_dir"]
    file.write_text(json.dumps(config))
    assert check_bundle([str(file)]) == ["output_dir is missing: where to write; add --output_dir FOLDER."]
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    words = ["/venv/monai/bundle/__main__.py", "run", "attack_eval", "--config_file", str([str(file), str(OVERLAY)])]
    check_arguments([*words, "--output_dir", "out"])
    with pytest.raises(SystemExit, match="--output_dri is nothing that the configs know"):
        check_arguments([*words, "--output_dri", "out"])
