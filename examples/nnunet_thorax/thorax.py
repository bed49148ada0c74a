"""A small nnU-Net for synthetic CTs of the chest: its images, and how it was trained.

    python examples/nnunet_thorax/thorax.py --data FOLDER    # three cases to attack: FOLDER/imagesTs, FOLDER/labelsTs
    python examples/nnunet_thorax/thorax.py --train          # trains it again, in minutes on one core (needs nnunetv2)

and then, with the model beside this script,

    python -m monai_smia nnunet examples/nnunet_thorax/nnUNetTrainer__nnUNetPlans__3d_fullres \
      --images FOLDER/imagesTs --labels FOLDER/labelsTs --eps 40

nnU-Net plans, preprocesses and trains by itself; what is set here are a smaller network and tile, and few iterations.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from monai_smia.targets.ct_lung.phantom import thorax_phantom

NAME = "Dataset900_Thorax"
MODEL = Path(__file__).parent / "nnUNetTrainer__nnUNetPlans__3d_fullres"
LABELS = {"background": 0, "lung": 1, "opacity": 2}
TRAINING, FIRST_TEST = 10, 100  # cases, and the seed of the first one that it was not trained on
PATCH, FEATURES = [24, 56, 64], [8, 16, 32]
EPOCHS, ITERATIONS = 24, 50


def write_case(folder: Path, name: str, seed: int, images: str, labels: str) -> None:
    """One patient, on a grid of its own."""
    rng = np.random.default_rng(seed)
    spacing = (*[float(np.round(rng.uniform(4.2, 5.4), 2))] * 2, float(np.round(rng.uniform(7.5, 10.0), 1)))
    size = [round(extent / step) for extent, step in zip((360, 300, 330), spacing, strict=True)]
    phantom = thorax_phantom(size, spacing, seed=seed)
    label = phantom.lung_mask + (phantom.infection_mask > 0)
    for where, ending, values in ((images, "_0000", phantom.image), (labels, "", label.astype(np.uint8))):
        (folder / where).mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(values, phantom.affine), folder / where / f"{name}{ending}.nii.gz")


def train(folder: Path) -> None:
    """Both folds, by nnU-Net's own planner, preprocessing and trainer."""
    folders = {f"nnUNet_{kind}": str(folder / kind) for kind in ("raw", "preprocessed", "results")}
    os.environ.update(folders | {"nnUNet_n_proc_DA": "1"})
    raw, preprocessed, results = (Path(path) / NAME for path in folders.values())
    for seed in range(TRAINING):
        write_case(raw, f"thorax_{seed:03d}", seed, "imagesTr", "labelsTr")
    dataset = {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": TRAINING, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(dataset, indent=1))

    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    extract_fingerprints([900], num_processes=1)
    plan_experiments([900])
    plans: dict[str, Any] = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    plans["configurations"] = {"3d_fullres": _smaller(plans["configurations"]["3d_fullres"])}
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans))
    preprocess([900], configurations=["3d_fullres"], num_processes=[1])
    os.environ.update({"nnUNet_n_proc_DA": "0"})  # augmentation in this process, from its seeds
    for fold in (0, 1):
        torch.manual_seed(fold)
        np.random.seed(fold)
        trainer = nnUNetTrainer(
            {**plans, "continue_training": False}, "3d_fullres", fold, dataset, device=torch.device("cpu")
        )
        trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = (
            EPOCHS,
            ITERATIONS,
            2,
        )
        trainer.oversample_foreground_percent = 0.66
        trainer.run_training()
    trained = results / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    for name in ("plans.json", "dataset.json"):
        (MODEL / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(trained / name, MODEL / name)
    for fold in (0, 1):
        whole = torch.load(trained / f"fold_{fold}" / "checkpoint_final.pth", weights_only=False)
        needed = {n: whole[n] for n in ("network_weights", "trainer_name", "inference_allowed_mirroring_axes")}
        (MODEL / f"fold_{fold}").mkdir(exist_ok=True)
        torch.save(
            {**needed, "init_args": {"configuration": "3d_fullres"}}, MODEL / f"fold_{fold}" / "checkpoint_final.pth"
        )


def _smaller(configuration: dict[str, Any]) -> dict[str, Any]:
    """The planned configuration with a tile and a network for one core."""
    stages = len(FEATURES)
    network = configuration["architecture"]["arch_kwargs"]
    network |= {
        "n_stages": stages,
        "features_per_stage": FEATURES,
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [1] * (stages - 1),
    }
    return {**configuration, "patch_size": PATCH, "batch_size": 2}


def main() -> None:
    """Write the images, train the model, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="write three cases there")
    parser.add_argument("--train", action="store_true", help="train the model anew")
    args = parser.parse_args()
    if args.data is None and not args.train:
        parser.error("say --data FOLDER or --train")
    if args.data is not None:
        for number in range(3):
            write_case(args.data, f"thorax_{FIRST_TEST + number}", FIRST_TEST + number, "imagesTs", "labelsTs")
    if args.train:
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            train(Path(folder))


if __name__ == "__main__":
    main()
