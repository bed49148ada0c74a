"""What goes wrong at the shell: the last line says what, and what to do, the status is not 0, nothing is computed."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from bundles.foreign.build import Foreign, build
from bundles.shipped import CT, ENDOSCOPY, FUNDUS
from dicom_files import planes, save
from shell import Done, ended, shell, started

from monai_smia.adapters import OVERLAY
from monai_smia.adapters.monai_bundle import check_bundle as imported_before_the_fork

CONFIG, ROOT = CT.configs("attack_eval")[0], ["--bundle_root", str(CT.root)]
PAPER = ["--preset", "paper"]
RUN = ["attack_eval", "--config_file", CONFIG, *ROOT]
EYES, FRAMES = (
    ["attack_eval", "--config_file", bundle.configs("attack_eval")[0], "--bundle_root", str(bundle.root)]
    for bundle in (FUNDUS, ENDOSCOPY)
)
TRAIN = ["train", "--config_file", str(FUNDUS.configs("train", "train_robust")), "--bundle_root", str(FUNDUS.root)]
MISTAKES: dict[str, tuple[Sequence[str], str]] = {
    # options
    "an option misspelt": ([*RUN, "--epz", "0.03"], r"--epz is nothing that the configs know, .* did you mean --eps\?"),
    "another one": ([*RUN, "--dataset-dri", "x"], r"did you mean --dataset_dir\?"),
    "a nested one": ([*RUN, "--evaluation#figurs", "0"], r"did you mean --evaluation#figure\?"),
    "an argument of the overlay": (["OVERLAY", "--attack#epss", "1"], r"did you mean --attack#eps\?"),
    "None": ([*RUN, "--eps", "None"], r"--eps None does not arrive, .* write --eps '\$None'"),
    "the run": (["attack_evl", *RUN[1:]], "run ID 'attack_evl' doesn't exist in the config file"),
    # paths
    "no such data": (
        [*RUN, "--dataset_dir", "gone"],
        r"/gone does not exist; expected .* one of: Kaggle",
    ),
    "a number for data": ([*RUN, "--dataset_dir", "2024"], r"dataset_dir .*/2024 does not exist"),
    "an empty folder": (
        [*RUN, "--dataset_dir", "empty"],
        "no known layout: it holds nothing; expected one of: ",
    ),
    "a file of no table": ([*RUN, "--dataset_dir", "file"], "needs a column 'file' in .*/file"),
    "an image that is not there": (
        [*RUN, "--dataset_dir", "labels", "--split", "$None"],
        r"row 1 of labels.csv names .*missing\.nii\.gz, which does not exist",
    ),
    "a series of no CT": ([*RUN, "--dataset_dir", "magnetic"], "magnetic holds no CT series: .* are of other kinds"),
    "a file of a series": (
        [*RUN, "--dataset_dir", "series/0001.dcm"],
        r"0001\.dcm is one file of DICOM: give the folder of its series",
    ),
    "a series in a table, its mask gone": (
        [*RUN, "--dataset_dir", "listed", "--split", "$None"],
        r"row 1 of labels.csv names .*gone\.dcm, which does not exist",
    ),
    "a series of eyes": (
        [*EYES, "--dataset_dir", "series"],
        r"series holds no color picture of DICOM: \S+ is greyscale \(MONOCHROME2, CT\)",
    ),
    "no photographs": ([*EYES, "--dataset_dir", "gone"], "dataset_dir .*/gone does not exist"),
    "no frames": ([*FRAMES, "--dataset_dir", "gone"], "dataset_dir .*/gone does not exist"),
    "a series of frames": (
        [*FRAMES, "--dataset_dir", "series"],
        r"series holds no color picture of DICOM: \S+ is greyscale \(MONOCHROME2, CT\)",
    ),
    "what is no text": ([*RUN, "--dataset_dir", "binary"], "binary is no table of cases: it holds no text; expected"),
    "another bundle_root": (
        [*RUN[:3], "--bundle_root", "empty"],
        r"No such file .*empty/configs/inference\.yaml'; say",
    ),
    "no bundle_root": (RUN[:3], r"No such file .*'configs/inference\.yaml'; say where it is, with --bundle_root"),
    "no config": (["attack_eval", "--config_file", "gone.yaml", *ROOT], r"Cannot find the config file: gone\.yaml"),
    "no weights": ([*RUN, "--weights", "gone.pt"], r"No such file .*'gone\.pt'; say where it is"),
    "weights of another network": (
        [*RUN, "--weights", str(FUNDUS.root / "models" / "model.pt")],
        "state_dict .*these weights are of another network",
    ),
    "a file in the output's place": ([*RUN, "--output_dir", "file"], "Not a directory: .*choose another --output_dir"),
    # values
    "a radius below 0": ([*RUN, "--eps", "-0.1"], r"eps must be a finite number >= 0, .* got -0\.1"),
    "a radius that is none": ([*RUN, "--eps", "abc"], "eps must be a finite number >= 0, .* got 'abc'"),
    "a radius of everything": ([*RUN, "--eps", "5"], "eps must be a radius within the valid range of the images"),
    "half a step": ([*RUN, *PAPER, "--steps", "1.5"], r"steps must be a whole number >= 0, got 1\.5"),
    "a preset": ([*RUN, "--preset", "quik"], r"preset must be one of .*, got 'quik'; did you mean quick\?"),
    "a space": ([*RUN, "--space", "netwrok"], r"--space must be one of .*, got 'netwrok'; did you mean network\?"),
    "volumes to keep": (
        [*RUN, "--write_volumes", "wrost"],
        r"worst, all, none, got 'wrost'; did you mean worst\?",
    ),
    "a metric": ([*RUN, "--accept", "jacard >= 0.8 at 70 HU"], r"must name a metric .* did you mean jaccard\?"),
    "a radius to accept at": (
        [*RUN, "--accept", "jaccard >= 0.8 at 7 HU"],
        "must name a radius of the plan, 70 HU",
    ),
    "a seed": ([*RUN, "--seed", "x"], "--seed must be a number, got 'x'"),
    "no gradients": ([*RUN, "--gradients", "0"], "gradients must be None or a whole number >= 1, got 0"),
    "several seeds": ([*RUN, "--seed", "[0,1]"], r"seed must be a whole number >= 0, got \[0, 1\]"),
    "several presets": ([*RUN, "--preset", "[quick]"], r"preset must be one of .*, got \['quick'\]"),
    "a radius given twice": ([*RUN, "--eps", "[0.01,0.01]"], r"eps must hold every radius once, .*: \[0\.01\]"),
    "radii half typed": ([*RUN, "--eps", "[1/255, x]"], r"eps must be a finite number >= 0, .* got '\[1/255, x\]'"),
    "a damage that is none": ([*EYES, *PAPER, "--stop_at", "0"], r"stop_at must lie in \(0, 1\], or be None, got 0"),
    "no cases": ([*EYES, "--max_cases", "0"], "max_cases must be None or a whole number >= 1, got 0"),
    "no number of cases": ([*EYES, "--max_cases", ""], "max_cases must be None or a whole number >= 1, got ''"),
    "half a frame": ([*FRAMES, "--frame_count", "1.5"], r"frame_count must be None or a whole number >= 1, got 1\.5"),
    "a loss": ([*FRAMES, "--loss", "focl"], r"--loss must be one of None, .*, got 'focl'; did you mean focal\?"),
    "another preset's loss": ([*FRAMES, "--loss", "focal"], "--loss is of --preset paper, and would do nothing with"),
    "another preset's end": ([*EYES, "--stop_at", "0.5"], "--stop_at is of --preset paper, and would do nothing with"),
    "another preset's box": ([*RUN, "--severity", "5"], "--severity is of --preset shifts, .* with --preset quick"),
    "a row": ([*FRAMES, *PAPER, "--rows", "[SMIA,Nix]"], r"rows must name some of \['Clean', .*\], got 'Nix'"),
    "a row in small letters": ([*FRAMES, *PAPER, "--rows", "smia"], r"rows must name some of .*, got 'smia'"),
    "a setting": ([*EYES, *PAPER, "--settings", '["equal radious"]'], "settings must .*; did you mean equal radius"),
    "a part of a setting": ([*FRAMES, *PAPER, "--settings", "equal"], "settings must name some of .*, got 'equal'"),
    "no folder": ([*EYES, "--output_dir", ""], "--output_dir must name a folder, got ''"),
    "no switch in text": ([*RUN, "--evaluation::storage::identified", "false"], "must be True or False, got 'false'"),
    "no switch of a training": ([*TRAIN, "--mixed_precision", "false"], "must be True or False, got 'false'"),
    "no fold": ([*TRAIN, "--fold", "9"], "fold must be None or a whole number from 0 to 4, got 9"),
    "never attacked": ([*TRAIN, "--attack_every", "0"], "attack_every must be a whole number >= 1, got 0"),
    "a radius of a training": ([*TRAIN, "--attack_eps", "0"], "attack_eps must be a finite number > 0, got 0"),
    "radii of a training": ([*TRAIN, "--attack_eps", "[0.01,0.02]"], r"attack_eps .* got \[0\.01, 0\.02\]"),
    "directions": ([*RUN, "--volumes", "['sideways']"], r"volumes must be a list of .*, got \['sideways'\]"),
    "no number of figures": ([*RUN, "--evaluation#figures", "x"], "figures must be a whole number >= 0, got 'x'"),
    "no switch": ([*RUN, "--evaluation#resume", "'no'"], "resume must be True or False, got 'no'"),
    "a device that is not there": (
        [*RUN, "--device", "$torch.device('cuda:99')"],
        "on the processor with --device",
    ),
    "an attack": (["OVERLAY", "--attack#only", "['PDG']"], r"only must name attacks of .*; did you mean PGD\?"),
    "a task": (["OVERLAY", "--attack#task", "segmentatoin"], r"task must be one of .*; did you mean segmentation\?"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shell")
    (folder / "empty").mkdir()
    (folder / "labels").mkdir()
    (folder / "file").write_text("x")
    (folder / "binary").write_bytes(b"\xff\xfe\x00\xce")
    save(planes(), folder / "series")
    magnetic = planes()
    for plane in magnetic:
        plane.Modality = "MR"
    save(magnetic, folder / "magnetic")
    (folder / "listed").mkdir()
    (folder / "listed" / "labels.csv").write_text("file,lung_mask\n../series,../gone.dcm\n")
    (folder / "labels" / "labels.csv").write_text("file,lung_mask\nmissing.nii.gz,mask.nii.gz\n")
    build(folder / "bundle", Foreign(), cases=1)
    return folder


def overlay_of(bundle: Path, *arguments: str) -> list[str]:
    files = json.dumps([str(bundle / "configs" / "inference.json"), str(OVERLAY)])
    return ["attack_eval", "--config_file", files, "--bundle_root", str(bundle), *arguments]


@pytest.mark.parametrize("name", MISTAKES)
def test_the_last_line_says_what_to_do(name: str, place: Path, tmp_path: Path) -> None:
    arguments, expected = MISTAKES[name]
    if arguments[0] == "OVERLAY":
        arguments = overlay_of(place / "bundle", *arguments[1:])
    if "--output_dir" not in arguments:
        arguments = [*arguments, "--output_dir", str(tmp_path / "out")]
    done: Done = shell(arguments, tmp_path, cwd=place)
    assert done.status == 1
    assert re.search(expected, done.last), done.last
    assert not list((tmp_path / "out").rglob("*.jsonl"))
    assert "--dataset_dir" not in arguments or not (tmp_path / "out" / "demo").exists()
    assert callable(imported_before_the_fork)


def test_there_are_twenty_and_more() -> None:
    assert len(MISTAKES) > 30


def test_who_interrupts_is_told_what_is_kept_and_how_to_go_on(place: Path, tmp_path: Path) -> None:
    command = overlay_of(place / "bundle", "--preset", "thorough", "--output_dir", str(tmp_path))
    process = started(command, tmp_path)
    journal = tmp_path / "attack_eval" / "journal" / "rank0.jsonl"
    while not (journal.exists() and journal.read_bytes().count(b"\n")):
        assert process.is_alive(), ended(process, tmp_path).err
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    done = ended(process, tmp_path)
    assert done.status == 130
    folder = re.escape(str(journal.parents[1]))
    assert re.fullmatch(
        rf"Interrupted: \d+ of \d+ rows are kept in {folder}; the same .* goes on where it was\.", done.last
    )
    assert "Traceback" not in done.err


def test_what_dependencies_say_of_themselves_is_left_out(place: Path, tmp_path: Path) -> None:
    """A run says what is planned, the headline, the table and where everything is; all else is ours or a fault."""
    quick = ["--steps", "1", "--attack#only", "['FGSM']", "--output_dir", str(tmp_path)]
    done = shell(overlay_of(place / "bundle", *quick), tmp_path)
    assert done.status == 0
    said = [line for line in done.err.replace("\r", "\n").splitlines() if line.strip() and "rows" not in line]
    assert all("GHSA" in line for line in said), said  # that a config may run code is for its user to know
    assert "Report: " in done.out
