"""Runs the benchmarks: the command of every results file anew, or every script as small as it goes.

    python benchmarks/bench.py            # what stands in the documents, then `documents.py`
    python benchmarks/bench.py --quick    # does every script still run? Nothing is kept

Commands that need real data or networks of other people are left out, and named, where ``MONAI_SMIA_DATA`` or
``MONAI_SMIA_MODELS`` is not set. Ends with 1 where one fails.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from documents import results
from measured import DATA, MODELS, ROOT

THORAX = "--phantoms 1 --crop 32 --gradients 2"
BUNDLE = "bundle_runs.py {} attack_eval --preset paper --steps 2"
ZOO = "MONAI_SMIA_ZOO"  # as zoo.py wants it
TEMPLATES = "MONAI_SMIA_AUTO3DSEG"  # as auto3dseg.py wants it
VAFA = "MONAI_SMIA_VAFA"  # as vafa.py wants it
SDK = "MONAI_SMIA_DEPLOY_SDK"  # as deploy_examples.py wants it
DEPLOY = ROOT / ".venv-deploy" / "bin" / "python"
NNUNET = ROOT / ".venv-nnunet" / "bin" / "python"
# train networks, test every change, or need packages or a checkout (Model Zoo, Auto3DSeg, VAFA) beside: no small run
LONG = (
    "standard.py",
    "optimality.py",
    "mutation.py",
    "zoo.py",
    "auto3dseg.py",
    "fundus_imagenet.py",
    "fundus_folds.py",
    "held_out_centres.py",
    "booster.py",
    "left_out_tables.py",
    "vafa.py",
    "deploy_examples.py",
)
QUICK = (
    "attack_overhead.py --pairs 1 --batch 1 --size 32",
    "attack_overhead.py --pairs 1 --batch 1 --size 32 --task segmentation",
    "sliding_window_gradient.py --size 48 48 48 --roi 32 --pairs 1",
    "growth.py --only windows 1",
    "foreign_files.py",
    "trouble.py --kills 3 --full 2 --pairs 1",
    "lower_precision.py --pairs 1 --steps 1 --side 32 --window 32",
    f"features.py --dataset_dir ${DATA}/ct --gradients 2",
    "on_cuda.py --device cpu --size 36 36 36 --roi 32 --batch 1 --pairs 1 --steps 1 --side 32",
    "early_stop.py --eps 0.2 --pairs 1 --epochs 1 --batch 10",
    "deepfool.py --samples 5 --pairs 1",
    "mnist.py --eps 0.1 --steps 2",
    "kernels.py",
    "fisher.py",
    "stabilization.py --draws 2 --epochs 1",
    "blackbox.py --queries 4 --processes 1",
    "product_kills.py --kills 2 --queries 3",
    "product_ways.py --queries 1",
    f"strength.py {THORAX}",
    f"survival_study.py {THORAX} --attacks main seen",
    "coverage.py --draws 8",
    f"structures.py --volumes --dataset_dir ${DATA}/ct --cases 1 --crop 32 --gradients 2",
    BUNDLE.format("ct_lung_segmentation"),
    BUNDLE.format("fundus_dr_grading"),
    BUNDLE.format("endoscopic_artefact_detection") + " --frame_count 1",
    f"identical_pictures.py --fundus ${DATA}/fundus",
    f"clean.py fundus_dr_grading ${DATA}",
    f"fundus_radii.py ${DATA}/fundus --cases 1 --gradients 2",
    f"polyp_radii.py ${DATA}/endoscopy --split val --frames 1 --gradients 2",
    f"adversarial_training.py ${DATA} --trainings 2 --epochs 1",
    f"recipes.py fundus bundles/fundus_dr_grading/models/model.pt ${DATA}",
    f"shifts.py --dataset_dir ${DATA}/ct --cases 1 --spacing 12 12 24 --draws 2 --gradients 2 --shifts HUCalibration",
    f"shifts.py --dataset_dir ${DATA}/ct --spacing 5 5 5 --crop 32 --draws 2 --gradients 2 --shifts Dose --certify all",
    f"shift_times.py --dataset_dir ${DATA}/ct --crop 32 --demos",
    "universal_transfer.py model.pt model_robust.pt --epochs 1 --eps 0.1",
    f"frequency.py --dataset_dir ${DATA}/ct --cases 1 --spacing 12 12 24 --gradients 2",
    "nnunet.py --pairs 1 --settings '1 fold'",
    "square.py --eps 0.1 --batch 5 --queries 5 --epochs 1 --pairs 1",
    f"dicom_survival.py --dicom ${DATA}/dicom/covidctmd_cap001 --label ${DATA}/ct/covidctmd_cap001_lung.nii.gz "
    "--eps 2 --steps 1",
    f"presets.py --dataset_dir ${DATA}/ct --crop 32 --presets quick",
    f"invented.py --dataset_dir ${DATA}/endoscopy --frames 1 --gradients 2",
    f"real_artefacts.py ${DATA}/endoscopy",
    f"coarse_to_fine.py --dataset_dir ${DATA}/ct --crop 48 --thorough 2 --pairs 1",
    "evaluation.py --only overhead --steps 1 --rows Clean BIM",
    "many_classes.py --side 24 --window 16",
    f"strangers.py --networks model5_gw_ae --side 24 --preset quick --gradients 1  # ${DATA} ${MODELS}",
    "documents.py --check",
)


def kept() -> list[str]:
    """The commands of the results files."""
    return [result["command"].removeprefix("python ") for result in results(ROOT).values()]


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every script as small as it goes")
    commands = [f"benchmarks/{c}" for c in QUICK] if parser.parse_args().quick else [*kept(), "benchmarks/documents.py"]
    failed = []
    for command in commands:
        if missing := [name for name in (DATA, MODELS) if f"${name}" in command and name not in os.environ]:
            print(f"left out, {' and '.join(missing)} not set: {command}", flush=True)
            continue
        if "/zoo.py" in command and ZOO not in os.environ:
            print(f"left out, {ZOO} is not set: {command}", flush=True)
            continue
        if "/auto3dseg.py" in command and TEMPLATES not in os.environ:
            print(f"left out, {TEMPLATES} is not set: {command}", flush=True)
            continue
        if "/vafa.py" in command and VAFA not in os.environ:
            print(f"left out, {VAFA} is not set: {command}", flush=True)
            continue
        if "/deploy_examples.py" in command and SDK not in os.environ:
            print(f"left out, {SDK} is not set: {command}", flush=True)
            continue
        own = {"/nnunet.py": NNUNET, "/deploy_examples.py": DEPLOY}
        python = next((path for script, path in own.items() if script in command), Path(sys.executable))
        if not python.exists():
            print(f"left out, `make test_nnunet` or `make test_deploy` sets up what it needs: {command}", flush=True)
            continue
        start = time.perf_counter()
        done = subprocess.run(
            f"{shlex.quote(str(python))} {command}", shell=True, cwd=ROOT, text=True, capture_output=True
        )
        print(f"{time.perf_counter() - start:6.0f} s  {'FAILED' if done.returncode else 'done'}  {command}", flush=True)
        if done.returncode:
            failed.append(command)
            print(done.stdout[-2000:] + done.stderr[-2000:], flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
