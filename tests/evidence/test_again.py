"""Recorded commands that are run again: only plain values and configs of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_smia.adapters.shipped import shipped_bundles
from monai_smia.cli import main
from monai_smia.evaluation.recipe import recipe_of
from monai_smia.evidence.again import evaluation_of
from monai_smia.evidence.errors import NotAgainError

ENTRY = "monai/bundle/__main__.py"
CT = shipped_bundles()["ct_lung_segmentation"]
CONFIG = CT / "configs" / "attack_eval.yaml"
SMALL = ["--preprocess#pixdim", "[8,8,8]", "--inferer#roi_size=[32,32,32]", "--gradients", "2", "--output_dir", "out"]


def recorded(*words: str, config: Path = CONFIG) -> dict[str, Any]:
    return recipe_of(
        [ENTRY, "run", "attack_eval", "--config_file", str(config), "--bundle_root", "/else/lungs", *words]
    )


def test_a_bundle_of_the_package_is_found_by_its_hash(tmp_path: Path) -> None:
    recipe = recorded(*SMALL)
    assert list(recipe["configs"]) == ["attack_eval.yaml"]
    assert set(recipe["shortened"]) == {"bundle_root"}
    evaluation = evaluation_of(recipe, tmp_path / "new", {})
    assert (Path(evaluation.output_dir), evaluation.names) == (tmp_path / "new", ["phantom_000"])
    assert list(evaluation.victim.inferer.roi_size) == [32, 32, 32]
    assert max(row.attack.steps for row in evaluation.plan if row.name == "APGD") == 2


def test_what_has_to_be_given_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotAgainError, match=r"give --dataset_dir \.\.\."):
        evaluation_of(recorded("--dataset_dir", "/data/ward7"), tmp_path, {})
    own = tmp_path / "mine.yaml"
    own.write_text(CONFIG.read_text() + "\n# mine\n")
    recipe = recorded(config=own)
    own.write_text(CONFIG.read_text())
    with pytest.raises(NotAgainError, match=r"mine.yaml of SHA-256 .* is not here"):
        evaluation_of(recipe, tmp_path, {"bundle_root": str(CT), "config_file": str(own)})


@pytest.mark.parametrize(
    "words",
    [
        ("--eps", "$__import__('os').system('touch {}')"),
        ("--attacks", "[{{'_target_': 'os.mkdir', 'path': '{}'}}]"),
        ("--network_def", "%{}#network"),
        ("--network_def#_target_", "os.mkdir"),
    ],
)
def test_code_in_an_override_is_not_run(words: tuple[str, str], tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    recipe = recorded(words[0], words[1].format(mark))
    with pytest.raises(NotAgainError, match="hold code, which would be run here"):
        evaluation_of(recipe, tmp_path / "new", {"bundle_root": str(CT)})
    assert not mark.exists()


@pytest.mark.parametrize("recipe", [{}, {"program": "other"}])
def test_what_is_no_command(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(NotAgainError, match="takes the evaluation itself"):
        evaluation_of(recipe, tmp_path, {})


@pytest.mark.parametrize("name", ["config_file", "bundle_root", "dataset_dir"])
def test_nothing_that_lies_in_the_evidence_is_run(name: str, tmp_path: Path) -> None:
    """Code in a config whose hash is the recorded one, as whoever forges evidence can have it."""
    mark, evil = tmp_path / "mark", tmp_path / "evidence" / "evil"
    evil.mkdir(parents=True)
    config = evil / "own.yaml"
    config.write_text(f"evaluation: $__import__('os').mkdir({str(mark)!r})\n")
    recipe = recorded(config=config if name == "config_file" else CONFIG)
    recipe["configs"] = (
        {str(config): digest for digest in recipe["configs"].values()} if name == "config_file" else recipe["configs"]
    )
    if name != "config_file":
        recipe["overrides"][name] = str(evil)
    with pytest.raises(NotAgainError, match=f"--{name} .* lies in the evidence itself, of which nothing is run"):
        evaluation_of(recipe, tmp_path / "new", {}, evidence=tmp_path / "evidence")
    assert not mark.exists()


def test_configs_that_write_elsewhere(tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text("evaluation:\n  _target_: monai_smia.evaluation.AttackEvaluation\n  output_dir: there\n")
    with pytest.raises((NotAgainError, RuntimeError)):
        evaluation_of(recorded(config=config), tmp_path / "new", {"bundle_root": str(CT), "config_file": str(config)})


@pytest.mark.parametrize("name", ["public-key", "rowz", "epz"])
def test_a_misspelt_option_is_no_override(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotAgainError, match="is nothing that the configs know"):
        evaluation_of(recorded(), tmp_path / "new", {name: "1"})
    assert main(["verify", str(tmp_path), "--rows", "0", f"--{name}", "1"]) == 1
    assert f"--{name} is nothing that a check without --rows takes" in capsys.readouterr().err
