"""Overrides that make the documented commands of the bundles short: small pictures and volumes, few steps."""

from __future__ import annotations

import shlex
from pathlib import Path

CT, FUNDUS, ENDOSCOPY = "ct_lung_segmentation", "fundus_dr_grading", "endoscopic_artefact_detection"
SMALL = {  # by bundle and what runs
    (CT, "train"): "--pixdim [8,8,8] --roi_size [32,32,32] --max_epochs 1 --patient_repeats 2 --phantom_dirs []",
    (CT, "evaluate"): "--preprocess#pixdim [8,8,8] --inferer#roi_size [32,32,32]",
    (CT, "run"): "--pixdim [8,8,8] --inferer#roi_size [32,32,32]",
    (CT, "attack_eval"): "--preprocess#pixdim [8,8,8] --inferer#roi_size [32,32,32] --steps 2",
    (CT, "paper_tables"): "--preprocess#pixdim [8,8,8] --inferer#roi_size [32,32,32] --steps 2 --cases 1",
    (CT, "figure_1"): "--preprocess#pixdim [8,8,8] --inferer#roi_size [32,32,32] --steps 2",
    (CT, "figure_2"): "--preprocess#pixdim [8,8,8] --inferer#roi_size [32,32,32] --steps 9",
    (
        CT,
        "universal",
    ): "--preprocess#pixdim [8,8,8] --inferer#roi_size [32,32,32] --epochs 1 --sizes [8,8,8] --eps 0.05",
    (FUNDUS, "universal"): "--epochs 1 --sizes [16,16] --eps 0.02",
    (ENDOSCOPY, "universal"): "--frame_count 1 --train_count 1 --frame_size [128,96] --epochs 1 --eps 0.02",
    (FUNDUS, "figure_1"): "--steps 2 --demo {eyes}",
    (FUNDUS, "figure_2"): "--steps 9 --demo {eyes}",
    (ENDOSCOPY, "figure_1"): "--frame_count 1 --frame_size [128,96] --steps 2",
    (ENDOSCOPY, "figure_2"): "--frame_count 1 --frame_size [128,96] --steps 9",
    (FUNDUS, "train"): "--epoch_draws 4 --batch_size 2 --max_epochs 1 --phantom_dir {eyes}",
    (FUNDUS, "attack_eval"): "--steps 2 --eps 0.02",
    (FUNDUS, "paper_tables"): "--steps 2 --demo {eyes} --max_cases 1",
    (ENDOSCOPY, "train"): "--mucosa_count 2 --max_epochs 1 --batch_size 2 --frame_size [128,96]",
    (ENDOSCOPY, "attack_eval"): "--frame_count 1 --frame_size [128,96] --steps 2",
    (ENDOSCOPY, "evaluate"): "--frame_size [128,96]",
    (ENDOSCOPY, "run"): "--frame_size [128,96]",
    (ENDOSCOPY, "paper_tables"): "--frame_count 1 --frame_size [128,96] --steps 2",
}
LESS = {  # of whatever attacks, where nothing is said
    "attack_eval": "--gradients 4",
    "paper_tables": "--iterations [3] --radii [1]",
}


def shorter(bundle: str, words: list[str], trees: dict[str, Path]) -> list[str]:
    """Overrides that a command does not have itself."""
    task = words[1] if words[0] == "run" and not words[1].startswith("--") else "run"
    if task == "run" and "configs/train.yaml" in " ".join(words):
        task = "train"
    if words[0] != "run":
        return []
    preset = words[words.index("--preset") + 1] if "--preset" in words else ""
    less = "" if preset == "paper" else LESS.get(task, "")
    told = " ".join(words)
    if task == "train" and bundle == ENDOSCOPY:
        if "configs/train_artefacts.yaml" in told:
            less = "" if "--dataset_dir" in words else "--real_count 2"
        elif "configs/train_robust" not in told:
            less = "--initial_weights '$None'"  # the weights come with a package that is not installed here
    if task == "train" and "configs/efficient.yaml" in told:
        less = "--warm_start '$None'"
    given = shlex.split(f"{SMALL.get((bundle, task), '')} {less}".format(eyes=trees["eyes"]))
    pairs = zip(given[::2], given[1::2], strict=True)
    drawn = (
        ("--frame_count", "--mucosa_count", "--train_count") if "--dataset_dir" in words else ()
    )  # which are of drawn frames
    return [word for name, value in pairs if name not in (*words, *drawn) for word in (name, value)]
