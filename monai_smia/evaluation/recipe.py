"""How the command of an evaluation can be run again: its configs by their hashes, its overrides without folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_smia.command_line import OWN, is_bundle_run
from monai_smia.evaluation.private import without_private
from monai_smia.overrides import config_files, overrides_of
from monai_smia.records.manifest import hash_of

BUNDLE, PACKAGE = "monai.bundle", "monai_smia"  # programs
KEPT = ("meta_file", "args_file", "init_id")  # of what ``monai.bundle run`` takes itself
CONFIGS = "config_file"


def recipe_of(arguments: Sequence[str]) -> dict[str, Any]:
    """The recipe.

    Args:
        arguments: of the process, the program first.

    Returns:
        ``program``; of ``monai.bundle`` ``run``, ``configs`` (SHA-256 by path as typed), ``overrides`` (texts as
        typed) and ``shortened``, the names of those that lost a folder, which may be named after a patient; of this
        package ``words``. Empty for any other program.

    Example:
        >>> recipe_of(["monai/bundle/__main__.py", "run", "attack_eval", "--eps", "0.03", "--dataset_dir", "/data/Doe"])
        {'program': 'monai.bundle', 'run': 'attack_eval', 'configs': {}, 'overrides': {'eps': '0.03', 'dataset_dir': \
'Doe'}, 'shortened': ['dataset_dir']}
    """
    if is_bundle_run(arguments):
        given = dict(overrides_of(arguments[2:]))
        words = arguments[2:3]
        overrides = {name: value for name, value in given.items() if name in KEPT or name not in OWN}
        short = {name: without_folders(value) for name, value in overrides.items()}
        return {
            "program": BUNDLE,
            "run": words[0] if words and not words[0].startswith("--") else "run",
            "configs": {without_folders(file): hash_of(file) for file in config_files(given.get(CONFIGS, ""))},
            "overrides": short,
            "shortened": [name for name, value in overrides.items() if short[name] != value],
        }
    if Path(arguments[0]).parts[-2:] == ("monai_smia", "__main__.py") or Path(arguments[0]).name == "monai-smia":
        words = [without_folders(word) for word in arguments[1:]]
        return {"program": PACKAGE, "words": words, "shortened": [w for w in words if w not in arguments]}
    return {}


def without_folders(argument: str) -> str:
    """An argument of a command line whose paths are names alone.

    Example:
        >>> without_folders("--dataset_dir=/data/ward 7/ct"), without_folders("configs/attack_eval.yaml")
        ('--dataset_dir=ct', 'configs/attack_eval.yaml')
    """
    name, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    return f"{name}{equals}{without_private(value, [value] if os.path.isabs(value) else ())}"
