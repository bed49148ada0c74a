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
from monai_smia.commands import add_evaluations
from monai_smia.options import add_evidence
from monai_smia.product_commands import add_product_commands


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
    if others and not (getattr(options, "check", None) or options.command is _verify):
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

    add_evaluations(commands)
    add_product_commands(commands)

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

    index = commands.add_parser("index", help="many finished evaluations on one page, the most robust model first")
    index.add_argument("folders", metavar="FOLDER", nargs="+", help="output folders, or folders that hold such")
    index.add_argument("--page", default="index.html", help="where to write (default: %(default)s)")
    index.set_defaults(command=_index)

    evidence, verify = add_evidence(commands)
    evidence.set_defaults(command=_evidence)
    verify.set_defaults(command=_verify)
    return parser


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
    """``--id value``, ``--id=value``, ``--id value value`` and ``--id``, values as Python writes them, or text."""
    found: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).removeprefix("--").partition("=")
        texts = [value] if equals else []
        while not equals and rest and not rest[0].startswith("--"):
            texts.append(rest.pop(0))
        values = [_value(text) for text in texts]
        found[name] = values if len(values) > 1 else values[0] if values else True
    return found


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return {"true": True, "false": False}.get(text, text)


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


def _index(options: argparse.Namespace) -> int:
    from monai_smia.records import DamagedRecordsError, RecordVersionError
    from monai_smia.report.leaderboard import leaderboard

    try:
        boards, page = leaderboard(options.folders, options.page)
    except (OSError, ValueError, RecordVersionError, DamagedRecordsError) as error:
        print(error, file=sys.stderr)
        return 1
    print(*(f"{board.title}\n{board.table.text()}\n" for board in boards), f"Page: {page.resolve()}", sep="\n")
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


def _evidence(options: argparse.Namespace) -> int:
    from monai_smia.evidence.commands import run_evidence

    return run_evidence(options)


def _verify(options: argparse.Namespace) -> int:
    from monai_smia.evidence.commands import run_verify

    return run_verify(options, _overrides(options.others))
