"""The command line, ``python -m monai_smia``: nothing slow is imported before a command is chosen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from monai_smia import __version__
from monai_smia.adapters import OVERLAY


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
    options = _parser().parse_args(arguments)
    return int(options.command(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m monai_smia", description="Adversarial robustness for MONAI.")
    parser.add_argument("--version", action="version", version=f"monai_smia {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    overlay = commands.add_parser("overlay", help="print the path of the attack_eval config for any MONAI bundle")
    overlay.add_argument("--check", nargs="+", metavar="CONFIG", help="say what these configs of a bundle lack for it")
    overlay.set_defaults(command=_overlay)

    report = commands.add_parser("report", help="make the report of a finished evaluation anew, from its records")
    report.add_argument("folder", metavar="FOLDER", help="output folder of the evaluation")
    report.set_defaults(command=_report)
    return parser


def _overlay(options: argparse.Namespace) -> int:
    if not options.check:
        print(OVERLAY)
        return 0
    from monai_smia.adapters.monai_bundle import check_configs

    missing = check_configs(options.check)
    print(*(missing or ["Nothing is missing."]), sep="\n")
    return 1 if missing else 0


def _report(options: argparse.Namespace) -> int:
    from monai_smia.records import RecordVersionError
    from monai_smia.report import write_report

    try:
        report = write_report(options.folder)
    except (FileNotFoundError, RecordVersionError) as error:
        print(error, file=sys.stderr)
        return 1
    if report.headline:
        print(report.headline)
    print(f"Report: {report.path.resolve()}")
    return 0
