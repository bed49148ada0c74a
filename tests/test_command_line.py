"""What is typed on the command line arrives, or ends the run before anything is computed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bundles.foreign.build import Foreign, build
from bundles.shipped import CT, ENDOSCOPY, FUNDUS, Shipped
from shell import Done, shell

from monai_smia.adapters import OVERLAY
from monai_smia.command_line import check_arguments, check_choice, check_found

PROGRAM = "/venv/lib/python3.11/site-packages/monai/bundle/__main__.py"


def typed(bundle: Shipped, *arguments: str, configs: tuple[str, ...] = ("attack_eval",)) -> list[str]:
    return [PROGRAM, "run", "attack_eval", "--config_file", str(bundle.configs(*configs)), *arguments]


@pytest.mark.parametrize("bundle", [CT, FUNDUS, ENDOSCOPY], ids=lambda bundle: bundle.name)
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--epz", "--epz is nothing that the configs know, and would do nothing: did you mean --eps?"),
        ("--dataset-dri", "did you mean --dataset_dir?"),
        ("--evaluation#figurs", "did you mean --evaluation#figure?"),
        ("--evaluation::metric", "did you mean --evaluation::metrics?"),
        ("--victim#los", "--victim#los is nothing"),
        ("--zzzzzzz", "known are: "),
    ],
)
def test_what_no_config_knows_is_named(bundle: Shipped, argument: str, message: str) -> None:
    if "victim" in argument and bundle is ENDOSCOPY:
        pytest.skip("its victim is described in another config, and takes what that takes")
    with pytest.raises(SystemExit) as caught:
        check_arguments(typed(bundle, argument, "0.03"))
    assert message in str(caught.value)


@pytest.mark.parametrize("bundle", [CT, FUNDUS, ENDOSCOPY], ids=lambda bundle: bundle.name)
@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("--identified", "false", "--identified must be True or False, got 'false'."),
        ("--identified", "no", "--identified must be True or False, got 'no'"),
        ("--identified", "0", "--identified must be True or False, got '0'"),
        ("--steps", "ten", "--steps must be a number, got 'ten'"),
        ("--steps", "True", "--steps must be a number, got 'True'"),
        ("--alpha", "1/2", "--alpha must be a number, got '1/2'; an expression begins with $"),
        ("--alpha", "nan", "--alpha must be a number, got 'nan'"),
    ],
)
def test_text_is_neither_a_number_nor_a_switch(bundle: Shipped, argument: str, value: str, message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        check_arguments(typed(bundle, argument, value))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("bundle", "configs", "switch"),
    [
        (FUNDUS, ("train", "train_robust"), "mixed_precision"),  # its default is an expression
        (FUNDUS, ("train",), "train::handlers::3::_disabled_"),
        (CT, ("attack_eval",), "within_series::native"),
        (CT, ("attack_eval",), "evaluation::storage::like_source"),
        (CT, ("attack_eval",), "labeled"),
        *[(b, ("attack_eval",), "evaluation::storage::identified") for b in (CT, FUNDUS, ENDOSCOPY)],  # a reference
        *[(b, ("attack_eval",), "evaluation#storage#identified") for b in (CT, FUNDUS, ENDOSCOPY)],
    ],
)
def test_text_is_no_switch_wherever_its_default_stands(bundle: Shipped, configs: tuple[str, ...], switch: str) -> None:
    for value in ("false", "no", "0"):
        with pytest.raises(SystemExit, match=f"--{switch} must be True or False, got '{value}'."):
            check_arguments(typed(bundle, f"--{switch}", value, configs=configs))
    for value in ("False", "True", "$@device.type == 'cpu'", ""):
        check_arguments(typed(bundle, f"--{switch}={value}", configs=configs))


def test_a_radius_may_be_typed_wherever_it_stands() -> None:
    check_arguments(typed(FUNDUS, "--comparison#eps", "8/255"))
    with pytest.raises(SystemExit, match="--comparison#steps must be a number, got 'ten'"):
        check_arguments(typed(FUNDUS, "--comparison#steps", "ten"))


@pytest.mark.parametrize("bundle", [CT, FUNDUS, ENDOSCOPY], ids=lambda bundle: bundle.name)
@pytest.mark.parametrize("folder", ["output_dir", "dataset_dir", "bundle_root"])
def test_a_folder_without_a_name_is_not_the_root_of_the_file_system(bundle: Shipped, folder: str) -> None:
    for arguments in ([f"--{folder}", ""], [f"--{folder}="], [f"--{folder}", "--eps", "0.1"]):
        with pytest.raises(SystemExit, match=f"--{folder} must name a folder, got ''."):
            check_arguments(typed(bundle, *arguments))


@pytest.mark.parametrize("value", ["abc", "4/255", "false"])
@pytest.mark.parametrize("bundle", [CT, FUNDUS, ENDOSCOPY], ids=lambda bundle: bundle.name)
def test_the_radius_of_a_training_is_a_number(bundle: Shipped, value: str) -> None:
    with pytest.raises(SystemExit, match="--attack_eps must be a number"):
        check_arguments(typed(bundle, "--attack_eps", value, configs=("train", "train_robust")))
    artefacts = ("train", "train_robust", "artefacts", "train_artefacts", "train_robust_artefacts")
    if bundle is ENDOSCOPY:
        with pytest.raises(SystemExit, match="--attack_eps must be a number"):
            check_arguments(typed(bundle, "--attack_eps", value, configs=artefacts))
    for number in ("0.01", "1e-3", "$1/255"):
        check_arguments(typed(bundle, "--attack_eps", number, configs=("train", "train_robust")))


@pytest.mark.parametrize("bundle", [CT, FUNDUS, ENDOSCOPY], ids=lambda bundle: bundle.name)
def test_what_the_configs_know_passes(bundle: Shipped) -> None:
    known = ["--eps=0.03", "--steps", "3", "--dataset_dir", "x", "--preset", "quick", "--network_def#channels", "[4]"]
    check_arguments(
        typed(bundle, *known, "--evaluation#figures", "0", "--evaluation::progress", "False", "--run_id", "x")
    )
    check_arguments(typed(bundle, "--evaluation::about::hazard", "H-12"))  # what nobody knows but the reader
    check_arguments(
        typed(bundle, "--identified", "True", "--steps", "$2 * 5", "--alpha", "[0.5, 1]", "--severity", "1,2")
    )
    check_arguments(typed(bundle, "--case", "a_name", configs=("attack_eval", "paper_figures")))
    check_arguments(typed(FUNDUS, "--stop_at", "never"))
    check_arguments(typed(bundle, "--split", "all", "--bundle_root", str(bundle.root), "--tracking", "mlflow"))


def test_overlays_know_what_they_and_their_bundle_know() -> None:
    configs = ("train", "artefacts", "train_artefacts")
    check_arguments(typed(ENDOSCOPY, "--mucosa_count", "2", "--model_card#name", "x", configs=configs))
    with pytest.raises(SystemExit, match="did you mean --mucosa_count"):
        check_arguments(typed(ENDOSCOPY, "--mucosa_cont", "2", configs=configs))
    check_arguments(typed(CT, "--iterations", "[2]", configs=("attack_eval", "paper_tables")))
    with pytest.raises(SystemExit, match="did you mean --evaluation#storage"):
        check_arguments(typed(CT, "--evaluation#storag", "1", configs=("attack_eval", "paper_tables")))


def test_a_space_that_a_bundle_does_not_have_is_refused() -> None:
    check_arguments(typed(CT, "--space", "network"))
    for bundle in (FUNDUS, ENDOSCOPY):
        with pytest.raises(SystemExit, match="--space is nothing that the configs know, and would do nothing"):
            check_arguments(typed(bundle, "--space", "network"))


def test_none_never_arrives_and_says_so() -> None:
    for argument, told in {
        ("--split", "None"): r"--split None does not arrive, for MONAI leaves None out: write --split all\.",
        ("--stop_at", "None"): r"write --stop_at never\.",
        ("--gradients", "None"): r"write --gradients '\$None'\.",
        ("--evaluation#figure", "null"): r"--evaluation#figure null does not arrive, but as a text: write .*'\$None'\.",
    }.items():
        with pytest.raises(SystemExit, match=told):
            check_arguments(typed(FUNDUS, *argument))


def test_other_programs_are_left_alone() -> None:
    check_arguments(["/usr/bin/pytest", "--epz", "1"])
    check_arguments([PROGRAM, "verify_metadata", "--config_file", CT.configs("attack_eval")[0], "--epz", "1"])


def test_choices_and_empty_folders() -> None:
    check_choice("space", "native", ["native", "network"])
    with pytest.raises(SystemExit, match="--space must be one of native, network, got 'netwrok'; did you mean network"):
        check_choice("space", "netwrok", ["native", "network"])
    check_found([1], "folder")
    with pytest.raises(SystemExit, match="folder holds nothing that this config takes"):
        check_found([], "folder")


def interpreted(arguments: Sequence[Any], folder: Path) -> Done:
    """By an interpreter of its own, which takes many times as long as `shell`."""
    command = [sys.executable, "-m", "monai.bundle", "run", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=folder)
    return Done(done.returncode, done.stdout, done.stderr)


def test_on_the_command_line(tmp_path: Path) -> None:
    """One line at the end, an exit code, and nothing written."""
    (tmp_path / "empty").mkdir()
    root, out = ["--bundle_root", CT.root, "--output_dir", tmp_path / "out"], tmp_path / "out"
    config = CT.configs("attack_eval")[0]
    misspelt = ["attack_eval", "--config_file", config, *root, "--space", "netwrok"]
    empty = ["--config_file", CT.configs("inference")[0], *root, "--dataset_dir", tmp_path / "empty"]
    for by, arguments, message in (
        (interpreted, misspelt, "did you mean network?"),
        (shell, misspelt, "did you mean network?"),
        (shell, empty, "holds nothing"),
    ):
        done = by(arguments, tmp_path)
        assert done.status == 1
        assert message in done.err.splitlines()[-1]
        assert not out.exists()


def test_the_overlay_on_the_command_line(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(), cases=1)
    files = json.dumps([str(bundle / "configs" / "inference.json"), str(OVERLAY)])
    line = ["attack_eval", "--config_file", files, "--bundle_root", bundle, "--attack#epss", "0.03"]
    done = shell(line, tmp_path)
    assert done.status == 1
    assert (
        "--attack#epss is nothing that the configs know, and would do nothing: did you mean --attack#eps?"
        in (done.err.splitlines()[-1])
    )
    assert not (bundle / "eval").exists()


def test_a_criterion_that_is_not_met_ends_with_its_own_status(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(), cases=1)
    files = json.dumps([str(bundle / "configs" / "inference.json"), str(OVERLAY)])
    quick = ["attack_eval", "--config_file", files, "--bundle_root", bundle, "--steps", "1"]
    quick += ["--attack#only", "['Noise', 'FGSM']", "--accept"]
    done = shell([*quick, "jaccard >= 1 at eps 0.03; jaccard >= 0 at eps 0.03"], tmp_path)
    assert done.status == 3
    assert "Criterion jaccard >= 1 at eps 0.03: not met, the worst-case mean of 1 case is" in done.out
    summary = json.loads((bundle / "eval" / "attack_eval" / "summary.json").read_text())
    assert [verdict["met"] for verdict in summary["criteria"]] == [False, True]
    assert shell([*quick, "jaccard >= 0 at eps 0.03"], tmp_path).status == 0
    refused = shell([*quick, "jaccard lower end >= 0 at eps 0.03"], tmp_path)
    assert (refused.status, "of fewer than 6 patients no interval" in refused.err) == (1, True)
