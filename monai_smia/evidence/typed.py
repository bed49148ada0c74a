"""An evaluation that a command of this package made, built once more from what lies on this machine."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from monai_smia.adapters.shipped import shipped_bundles
from monai_smia.command_line import EXPECTED
from monai_smia.commands import add_evaluations, arguments_of
from monai_smia.evaluation import AttackEvaluation
from monai_smia.evidence.errors import NotAgainError, check_outside
from monai_smia.nearest import nearest
from monai_smia.product_commands import add_product_commands

PATHS = ("model", "model_folder", "folder", "images", "labels", "preprocessing", "dataroot")  # of all commands
RUN = {"product": "command", "preprocessing": "preprocessing", "transfer": "transfer"}  # what runs here, as typed
ASKED_BY_DICOM = (
    "the product was asked by DICOM (the command node), and asking it again would send series to it: from Python, "
    "monai_smia.evidence.verify(evidence, evaluation=...) takes the evaluation itself."
)


class _Parser(argparse.ArgumentParser):
    """Raises where another one ends the process."""

    def error(self, message: str) -> NoReturn:
        raise NotAgainError(f"the recorded command cannot be read: {message}.")


def typed_evaluation(
    words: Sequence[str],
    output_dir: Path,
    given: Mapping[str, Any],
    *,
    trusted: bool = False,
    evidence: str | os.PathLike[str] | None = None,
) -> AttackEvaluation:
    """The evaluation of a recorded command of ``python -m monai_smia``, which is to write into another folder.

    Args:
        words: behind ``python -m monai_smia``; paths may have lost their folders.
        output_dir: where to write.
        given: options in the place of the recorded ones, such as ``model`` and ``images`` of this machine; a list where
            an option takes several values.
        trusted: run what the recorded words name (a product's command, the scripts of an algorithm, a config).
        evidence: folder of the evidence, of which nothing is run.

    Raises:
        NotAgainError: with what has to be given, or why it cannot be.
    """
    if words[:1] == ["node"]:
        raise NotAgainError(ASKED_BY_DICOM)
    parsers = _parsers()
    if not words or words[0] not in parsers:
        raise NotAgainError(f"the recorded command {' '.join(words[:1])!r} is none that evaluates.")
    parser = parsers[words[0]]
    options = _parsed(parser, words[1:], given)
    options.trusted = trusted or bool(given.get("trusted", False))
    _check_runs(options, given, trusted=trusted)
    _check_paths(options, given, evidence)
    arguments = arguments_of(options) | {"output_dir": str(output_dir), "progress": False}
    if "trusted" not in _names(parser):
        del arguments["trusted"]
    try:
        evaluation = options.build(**arguments)
    except (*EXPECTED, SystemExit) as error:
        raise NotAgainError(f"the evaluation cannot be built here: {error}") from error
    assert isinstance(evaluation, AttackEvaluation)
    return evaluation


def _parsers() -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands that evaluate."""
    commands = _Parser(add_help=False).add_subparsers()
    add_evaluations(commands)
    add_product_commands(commands)
    return {name: parser for name, parser in commands.choices.items() if parser.get_default("build") is not None}


def _names(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """What can be given, by its name as typed: options without their dashes, and positional arguments."""
    found = {}
    for action in parser._actions:
        for text in action.option_strings or [action.dest]:
            found[text.lstrip("-").replace("-", "_")] = action
    return found


def _parsed(parser: argparse.ArgumentParser, words: Sequence[str], given: Mapping[str, Any]) -> argparse.Namespace:
    """The recorded words with what is given in their place."""
    names, more = _names(parser), list[str]()
    for name in given:
        if name not in names or name == "output_dir":
            raise NotAgainError(f"--{name} is nothing that the recorded command takes{nearest(name, list(names))}")
    for name, value in given.items():
        action = names[name]
        texts = [str(each) for each in (value if isinstance(value, (list, tuple)) else [value])]
        if action.option_strings:
            more += [action.option_strings[0], *([] if action.nargs == 0 else texts)]
    options = parser.parse_args([*words, *more])
    for name, value in given.items():
        if not names[name].option_strings:
            several = names[name].nargs == "+"
            setattr(options, name, [str(v) for v in _listed(value)] if several else str(value))
    return options


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def _check_runs(options: argparse.Namespace, given: Mapping[str, Any], *, trusted: bool) -> None:
    """Raise where the recorded words name what would be run here, and nobody on this machine asks for it."""
    for dest, name in RUN.items():
        values = _listed(getattr(options, dest, None))
        if dest == "transfer":
            values = [value for value in values if value not in _shipped()]
        if values and name not in given and not trusted:
            raise NotAgainError(
                f"the recorded --{name} {' '.join(map(str, values))} would be run here: read it in spec.json, and give "
                f"--{name} ... behind the command, or --trusted."
            )


def _shipped() -> list[str]:
    try:
        return list(shipped_bundles())
    except FileNotFoundError:
        return []


def _check_paths(
    options: argparse.Namespace, given: Mapping[str, Any], evidence: str | os.PathLike[str] | None
) -> None:
    """Raise where a recorded file or folder is not here, or lies in the evidence."""
    lost = []
    for name, value in _recorded_paths(options, given):
        check_outside(name, value, evidence)
        if not Path(value).exists() and name not in lost:
            lost.append(name)
    if lost:
        told = " ".join(f"--{name} ..." for name in lost)
        raise NotAgainError(f"where it lies here is not recorded: give {told}.")


def _recorded_paths(options: argparse.Namespace, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in (*PATHS, "transfer"):
        if name in given:
            continue
        for value in _listed(getattr(options, name, None)):
            if name != "transfer" or value not in _shipped():
                yield name, str(value)
