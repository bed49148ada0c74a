"""The overrides of a command line: their names and values, and of what kind a value must be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

TEXTS = ("case", "eps")  # ids that may be a name, or a number as people type it: 8/255
NUMBER = r"-?\d[\d.e+-]*|'\$[\d\s.()*/e+-]+'"  # as Python writes one of a config, or an expression: 0.5, '$2 / 255'
FOLDERS = ("_dir", "_root")  # ends of ids
REFERENCE = r"@[\w:#]+"


def check_kind(name: str, value: str, config: Mapping[str, Any]) -> None:
    """End the run where text stands for a number or a switch, or nothing for a folder: ``false`` would be true.

    Args:
        name: of the override.
        value: as it is typed; no expression and no reference.
        config: all configs as one, whose default says of what kind the override is.

    Raises:
        SystemExit: with one line that names the override.

    Example:
        >>> check_kind("resume", "false", {"resume": "$@device != 'cpu'"})
        Traceback (most recent call last):
        SystemExit: --resume must be True or False, got 'false'.
    """
    default, given = _default(parts_of(name), config), literal(value)
    if not value and name.endswith(FOLDERS):  # of which "/demo" would lie in the root of the file system
        raise SystemExit(f"--{name} must name a folder, got {value!r}.")
    if _is_switch(default):
        if value and not isinstance(given, bool):  # without a value it is True
            raise SystemExit(f"--{name} must be True or False, got {value!r}.")
    elif re.fullmatch(NUMBER, repr(default)) and parts_of(name)[-1] not in TEXTS and isinstance(given, (str, bool)):
        raise SystemExit(f"--{name} must be a number, got {value!r}; an expression begins with $, such as '$4 / 255'.")


def check_overlay(name: str, value: Any, overlay: str) -> None:
    """End the run where an option has a value that another config of the bundle takes, which is not laid over.

    Raises:
        SystemExit: with one line that names the config.

    Example:
        >>> check_overlay("frames_dir", "frames", "artefacts.yaml")
        Traceback (most recent call last):
        SystemExit: --frames_dir is of configs/artefacts.yaml: lay it over the others in --config_file.
    """
    if value is not None:
        raise SystemExit(f"--{name} is of configs/{overlay}: lay it over the others in --config_file.")


def check_unused(beside: str, given: Any, **others: Any) -> None:
    """End the run where an option is given that does nothing beside another one.

    Args:
        beside: the other option.
        given: its value; where it is None everything may be given.
        others: the options, None where they are not given.

    Raises:
        SystemExit: with one line that names them.

    Example:
        >>> check_unused("dataset_dir", None, frame_count=3)
        >>> check_unused("dataset_dir", "frames", frame_count=3)
        Traceback (most recent call last):
        SystemExit: --frame_count would do nothing beside --dataset_dir: leave it out.
    """
    useless = [f"--{name}" for name, value in others.items() if value is not None]
    if given is not None and useless:
        raise SystemExit(f"{', '.join(useless)} would do nothing beside --{beside}: leave it out.")


def need_overlay(overlay: str, there: bool) -> None:
    """End the run where one config needs another one that is not laid over.

    Raises:
        SystemExit: with one line that names it.

    Example:
        >>> need_overlay("train_artefacts.yaml", False)
        Traceback (most recent call last):
        SystemExit: configs/train_artefacts.yaml is needed with these configs: lay it over them in --config_file.
    """
    if not there:
        raise SystemExit(f"configs/{overlay} is needed with these configs: lay it over them in --config_file.")


def _default(path: Sequence[str], config: Mapping[str, Any]) -> Any:
    """What stands at an id of a config, or at the id that it refers to; None where nothing does."""
    found: Any = config
    for part in path:
        here = {str(n): item for n, item in enumerate(found)} if isinstance(found, list) else found
        found = here.get(part) if isinstance(here, Mapping) else None
    if isinstance(found, str) and re.fullmatch(REFERENCE, found) and parts_of(found[1:]) != list(path):
        return _default(parts_of(found[1:]), config)
    return found


def _is_switch(default: Any) -> bool:
    """Whether a default is True or False, or an expression that gives one of them: a comparison, or ``not``."""
    if isinstance(default, bool) or not isinstance(default, str) or not default.startswith("$"):
        return isinstance(default, bool)
    try:
        tree = ast.parse(re.sub(REFERENCE, "_", default[1:].strip()), mode="eval").body
    except SyntaxError:
        return False
    return isinstance(tree, ast.Compare) or (isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not))


def literal(value: str) -> Any:
    """A value of the command line as MONAI reads it: numbers, lists, True, False; all else is text."""
    try:
        return ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return value


def overrides_of(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names and values of what begins with two dashes."""
    for number, argument in enumerate(arguments):
        if not argument.startswith("--") or argument == "--":
            continue
        name, equals, value = argument[2:].partition("=")
        following = arguments[number + 1] if number + 1 < len(arguments) else ""
        yield name.replace("-", "_"), value if equals else "" if following.startswith("--") else following


def config_files(value: str) -> list[str]:
    """The config files of ``--config_file``: one, a list as Python writes it, or several with commas."""
    found = literal(value)
    names = found.split(",") if isinstance(found, str) else list(found)
    return [str(name) for name in names if str(name) and Path(str(name)).is_file()]


def parts_of(name: str) -> list[str]:
    """The parts of an id: ``a::b`` and ``a#b`` are both ``a``, ``b``."""
    return name.replace("::", "#").split("#")
