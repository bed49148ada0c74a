"""Commands of ``python -m monai_smia`` that evaluate a model under attack; nothing slow is imported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from monai_smia.options import add_attacks, add_range, add_shared

NO_ARGUMENTS = ("command", "build", "others", "tracking")  # of the functions that make an evaluation


def add_evaluations(commands: Any) -> None:
    """Add the commands; values are checked by the evaluations themselves."""
    _add_run(commands)
    _add_nnunet(commands)
    _add_auto3dseg(commands)


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="evaluate a network in a file (TorchScript, torch.export, ONNX) under attack")
    add = run.add_argument
    add("--model", required=True, metavar="FILE", help="TorchScript, a program of torch.export (.pt2), or ONNX")
    add("--task", required=True, help="segmentation, classification or regression (numbers, such as landmarks)")
    add("--images", nargs="+", required=True, help="NIfTI files, pictures, or folders of those or of DICOM series")
    add(
        "--labels",
        help="folder of label maps CASE.nii.gz, or a CSV of image,label; without it the clean decision",
    )
    add("--output_dir", default="model_attack_eval", help="where to write (default: %(default)s)")
    add("--roi", nargs="+", type=int, metavar="N", help="sliding window in voxels; without it whole images")
    add("--overlap", type=float, default=0.25, help="of windows (default: %(default)s)")
    add("--blend", default="constant", help="of windows: constant (default), gaussian")
    add("--logits", default="float32", help="what windows are stitched in: float32 (default), float16, bfloat16")
    add("--orientation", metavar="AXES", help="axes that the network wants, such as RAS")
    add("--spacing", nargs="+", type=float, metavar="MM", help="voxel size that the network wants")
    add("--window", nargs=2, type=float, metavar=("LOW", "HIGH"), help="intensities that become 0 to 1, clipped")
    add("--preprocessing", metavar="CONFIG", help="MONAI config with the id preprocessing, in the place of these three")
    add("--activation", help="softmax or sigmoid; without it softmax where there are several channels")
    add("--returns", help="logits or probabilities; without it as they look")
    add("--output", metavar="NAME", help="which of several outputs counts, a number or a key")
    add("--class_names", nargs="+", help="of the channels, the background's included")
    add("--within", type=float, help="of a regression: the error up to which a number counts as right, in its unit")
    add(
        "--point_axis",
        type=int,
        metavar="N",
        help="of a regression: axis of a point's coordinates, 1 of BxDxN",
    )
    add("--width_first", action="store_true", help="give pictures with the width first, as MONAI's own loader")
    add("--trusted", action="store_true", help="open a program though it holds what may run when it is opened")
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1")
    add("--eps", nargs="+", help="radius in the unit of the images, or several; without it 3 %% of the window")
    add("--preset", help="quick (default), standard, thorough, radius, paper or blackbox, which an ONNX network has")
    add_attacks(add)
    add_range(add)
    add("--unit", help="of the images, for tables, such as HU")
    add("--straight_through", action="store_true", help="let the gradient through where the window clips")
    add("--identified", action="store_true", help="derive from series that do not say that they are de-identified")
    add_shared(add)
    run.set_defaults(command=evaluated, build=_run)


def _add_nnunet(commands: Any) -> None:
    nnunet = commands.add_parser("nnunet", help="evaluate a trained nnU-Net v2 under attack, as it is deployed")
    add = nnunet.add_argument
    add("model_folder", metavar="MODEL_FOLDER", help="such as nnUNetTrainer__nnUNetPlans__3d_fullres")
    add("--images", nargs="+", required=True, help="folders or files, named CASE_0000.nii.gz for the first channel")
    add("--labels", help="folder of label maps CASE.nii.gz; without it the clean decision is the reference")
    add("--output_dir", default="nnunet_attack_eval", help="where to write (default: %(default)s)")
    add(
        "--eps",
        nargs="+",
        help="radius in the unit of the images, or several; without it 3 %% of the foreground's range",
    )
    add("--eps_unit", default="image", help="image (default), or of each case and channel std or range")
    add("--preset", default="quick", help="quick (default), standard, thorough, radius or paper")
    add_attacks(add)
    add("--folds", nargs="+", help="numbers, or all; without it those that are there")
    add("--checkpoint", help="in the folder of every fold; without it checkpoint_final.pth")
    add("--trusted", action="store_true", help="load checkpoints though they hold what may run when it is loaded")
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1")
    add("--disable_tta", action="store_false", dest="mirroring", help="no mirroring, as nnU-Net's own switch")
    add(
        "--step_size",
        type=float,
        default=0.5,
        dest="step",
        metavar="SHARE",
        help="of the tiles, nnU-Net's own (default: %(default)s)",
    )
    add(
        "--statistics", default="differentiate", help="mean and deviation of the image: differentiate (default), freeze"
    )
    add("--background", default="keep", help="zeros around the body: keep (default), attack")
    add_range(add)
    add("--unit", help="of the images, for tables; without it HU where the model normalizes as for CT")
    add_shared(add)
    nnunet.set_defaults(command=evaluated, build=_nnunet)


def _add_auto3dseg(commands: Any) -> None:
    auto3dseg = commands.add_parser(
        "auto3dseg", help="evaluate an algorithm of Auto3DSeg under attack, as it is deployed"
    )
    add = auto3dseg.add_argument
    add("folder", nargs="+", metavar="ALGO_FOLDER", help="such as work_dir/segresnet_0; several decide together")
    add(
        "--images",
        nargs="+",
        required=True,
        help="NIfTI files, folders of those or of DICOM series, or a list of data (JSON) as Auto3DSeg takes it",
    )
    add("--labels", help="folder of label maps CASE.nii.gz; without it the clean decision is the reference")
    add(
        "--list_key", help="of a list of data; without it testing, else the fold that the algorithm's training left out"
    )
    add("--dataroot", help="of a list of data: where its files lie")
    add("--trusted", action="store_true", help="run the folder's scripts, which may do anything: without it refused")
    add("--ensemble", default="mean", help="of several folders: mean (default), vote")
    add("--output_dir", default="auto3dseg_attack_eval", help="where to write (default: %(default)s)")
    add("--eps", nargs="+", help="radius in the unit of the images, or several; without it 3 %% of their range")
    add("--preset", default="quick", help="quick (default), standard, thorough, radius or paper")
    add_attacks(add)
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1")
    add("--background", default="keep", help="zeros that the algorithm normalizes without: keep (default), attack")
    add_range(add)
    add("--unit", help="of the images, for tables; without it HU where the algorithm has an intensity window")
    add("--straight_through", action="store_true", help="let the gradient through where the window clips")
    add("--identified", action="store_true", help="derive from series that do not say that they are de-identified")
    add_shared(add)
    auto3dseg.set_defaults(command=evaluated, build=_auto3dseg)


def _run(**arguments: Any) -> Any:
    from monai_smia.adapters.model_file import model_evaluation

    return model_evaluation(**arguments)


def _nnunet(**arguments: Any) -> Any:
    from monai_smia.adapters.nnunet import nnunet_evaluation

    return nnunet_evaluation(**arguments)


def _auto3dseg(**arguments: Any) -> Any:
    from monai_smia.adapters.auto3dseg import auto3dseg_evaluation

    return auto3dseg_evaluation(**arguments)


def arguments_of(options: argparse.Namespace) -> dict[str, Any]:
    """What was typed, as the evaluation of a command takes it."""
    return {name: value for name, value in vars(options).items() if name not in NO_ARGUMENTS}


def evaluated(options: argparse.Namespace, build: Callable[..., Any] | None = None) -> int:
    """Run the evaluation that is made of the options, where one is; what is wrong is said in a line.

    Args:
        options: with ``build``, which makes it.
        build: in its place.
    """
    from monai_smia.command_line import EXPECTED, end_unless_met, quiet

    quiet()
    try:
        evaluation = (build or options.build)(**arguments_of(options))
        if evaluation is not None:
            if options.tracking:
                from monai_smia.evaluation.trackers import trackers

                evaluation.handlers = trackers(options.tracking, options.output_dir)
            end_unless_met(evaluation.run())
    except EXPECTED as error:
        print(error, file=sys.stderr)
        return 1
    return 0
