"""The command line, ``python -m monai_smia``: nothing slow is imported before a command is chosen."""

from __future__ import annotations

import argparse
import ast
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_smia import __version__
from monai_smia.adapters import OVERLAY
from monai_smia.options import add_product, add_shared


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command and its arguments; None for those of the process.

    Returns:
        The exit code: 0 if all is well, 1 if something is missing.

    Example:
        >>> main(["--version"])
        Traceback (most recent call last):
        SystemExit: 0
    """
    parser = _parser()
    options, others = parser.parse_known_args(arguments)
    if others and not getattr(options, "check", None):
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    options.others = others
    return int(options.command(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m monai_smia", description="Adversarial robustness for MONAI.")
    parser.add_argument("--version", action="version", version=f"monai_smia {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    overlay = commands.add_parser("overlay", help="print the path of the attack_eval config for any MONAI bundle")
    overlay.add_argument(
        "--check",
        nargs="+",
        metavar="CONFIG",
        help="say what would stop an attack on a bundle with these configs; overrides follow as those of a run",
    )
    overlay.set_defaults(command=_overlay)

    bundle = commands.add_parser("bundle", help="copy one of the bundles that come with the package, with its weights")
    bundle.add_argument("name", metavar="NAME", nargs="?", help="of the bundle; without it their names are printed")
    bundle.add_argument("folder", metavar="FOLDER", nargs="?", help="new folder (default: its name)")
    bundle.set_defaults(command=_bundle)

    _add_nnunet(commands)
    _add_blackbox(commands)
    _add_node(commands)

    report = commands.add_parser("report", help="make the report of a finished evaluation anew, from its records")
    report.add_argument("folder", metavar="FOLDER", help="output folder of the evaluation")
    report.set_defaults(command=_report)

    compare = commands.add_parser(
        "compare", help="finished evaluations side by side, and their differences case by case"
    )
    compare.add_argument(
        "folders", metavar="FOLDER", nargs="+", help="output folders; differences are those to the first"
    )
    compare.add_argument("--page", default="comparison.html", help="where to write (default: %(default)s)")
    compare.set_defaults(command=_compare)
    return parser


def _add_nnunet(commands: Any) -> None:
    """The command that attacks a trained nnU-Net; values are checked by `nnunet_evaluation`."""
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
    add("--preset", default="quick", help="quick (default), standard, thorough, radius or paper")
    add("--gradients", type=int, help="of the first strong attack, in the last round")
    add("--steps", type=int, default=10, help="of the paper's attacks (default: %(default)s)")
    add(
        "--attacks",
        nargs="+",
        dest="only",
        metavar="NAME",
        help="names of attacks to run, such as Noise PGD APGD; without it all",
    )
    add("--volumes", nargs="+", help="down, up: attacks on the volume that is segmented")
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
    add(
        "--clip",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="valid range of the images; without it that of every file's type",
    )
    add("--unit", help="of the images, for tables; without it HU where the model normalizes as for CT")
    add_shared(add)
    nnunet.set_defaults(command=_nnunet)


def _add_blackbox(commands: Any) -> None:
    """The command that attacks a product which is a command; values are checked by `product_evaluation`."""
    blackbox = commands.add_parser("blackbox", help="evaluate a product under attack, of which answers alone are known")
    add = blackbox.add_argument
    add("--command", required=True, dest="product", help="program and arguments, with {input} and {output}; no shell")
    add_product(add, "blackbox")
    blackbox.set_defaults(command=_blackbox)


def _add_node(commands: Any) -> None:
    """The command that attacks a product which is a DICOM node; `DicomNode` and the evaluation check values."""
    node = commands.add_parser("node", help="the same of a DICOM node: series out by C-STORE, DICOM SEG in")
    add = node.add_argument
    add("--send-to", required=True, metavar="AE@HOST:PORT", help="the product")
    add("--receive-as", required=True, metavar="AE:PORT", help="where it sends its results; loopback without a host")
    add("--retries", type=int, default=2, help="how often sending is tried again (default: %(default)s)")
    add("--per_minute", type=float, help="queries a minute, at most")
    add("--dry_run", action="store_true", help="send one series unchanged, and show what came back")
    add_product(add, "node", "--series")
    node.set_defaults(command=_node)


def _blackbox(options: argparse.Namespace) -> int:
    from monai_smia.adapters.product import Command, product_evaluation
    from monai_smia.command_line import EXPECTED, end_unless_met, quiet

    quiet()
    arguments = {name: value for name, value in vars(options).items() if name not in ("command", "others")}
    try:
        product = Command(tuple(shlex.split(arguments.pop("product"))), timeout=arguments.pop("timeout"))
        end_unless_met(product_evaluation(product, **arguments).run())
    except EXPECTED as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _node(options: argparse.Namespace) -> int:
    from monai_smia.adapters.product import DicomNode, dry_run, product_evaluation
    from monai_smia.command_line import EXPECTED, end_unless_met, quiet

    quiet()
    arguments = {name: value for name, value in vars(options).items() if name not in ("command", "others")}
    own = {name: arguments.pop(name) for name in ("send_to", "receive_as", "timeout", "retries", "per_minute")}
    node = None
    try:
        node = DicomNode(**own)
        if arguments.pop("dry_run"):
            identified = arguments["identified"]
            print(*dry_run(node, arguments["images"], arguments["classes"], identified=identified), sep="\n")
        else:
            end_unless_met(product_evaluation(node, **arguments).run())
    except EXPECTED as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        if node is not None:
            node.close()
    return 0


def _nnunet(options: argparse.Namespace) -> int:
    from monai_smia.adapters.nnunet import nnunet_evaluation
    from monai_smia.command_line import EXPECTED, end_unless_met, quiet

    quiet()
    arguments = {name: value for name, value in vars(options).items() if name not in ("command", "others")}
    try:
        end_unless_met(nnunet_evaluation(**arguments).run())
    except EXPECTED as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _overlay(options: argparse.Namespace) -> int:
    if not options.check:
        print(OVERLAY)
        return 0
    missing = [name for name in options.check if not Path(name).is_file()]
    if missing:
        print(*(f"{name} does not exist." for name in missing), sep="\n")
        return 1
    from monai_smia.adapters.monai_bundle import check_bundle

    stops = check_bundle(options.check, _overrides(options.others))
    print(*(stops or ["Nothing is missing."]), sep="\n")
    return 1 if stops else 0


def _bundle(options: argparse.Namespace) -> int:
    from monai_smia.adapters.shipped import copy_bundle, shipped_bundles

    try:
        if options.name is None:
            print(*shipped_bundles(), sep="\n")
            return 0
        folder = copy_bundle(options.name, options.folder or options.name)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    where = shlex.quote(str(folder))
    print(f"Copied to {folder.resolve()}; docs/README.md there says what it is. To attack it, on synthetic data:")
    print(
        f"python -m monai.bundle run attack_eval --config_file {where}/configs/attack_eval.yaml --bundle_root {where}"
    )
    return 0


def _overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """``--id value`` and ``--id=value``, values as Python writes them, or text."""
    found: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).removeprefix("--").partition("=")
        text = value if equals else (rest.pop(0) if rest else "")
        try:
            found[name] = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            found[name] = {"true": True, "false": False}.get(text, text)
    return found


def _compare(options: argparse.Namespace) -> int:
    from monai_smia.records import DamagedRecordsError, RecordVersionError
    from monai_smia.report.comparison import compare

    try:
        made = compare(options.folders, options.page)
    except (OSError, ValueError, RecordVersionError, DamagedRecordsError) as error:
        print(error, file=sys.stderr)
        return 1
    print(made.runs.text(), made.pairs.text(), *made.warnings, f"Page: {made.path.resolve()}", sep="\n")
    return 0


def _report(options: argparse.Namespace) -> int:
    from monai_smia.records import DamagedRecordsError, RecordVersionError
    from monai_smia.report import write_report

    try:
        report = write_report(options.folder)
    except (FileNotFoundError, RecordVersionError, DamagedRecordsError) as error:
        print(error, file=sys.stderr)
        return 1
    if report.headline:
        print(report.headline)
    print(f"Report: {report.path.resolve()}")
    return 0
