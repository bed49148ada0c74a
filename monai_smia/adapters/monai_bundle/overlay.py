"""Where the overlay config lies, and what a bundle must bring along for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_smia.adapters import OVERLAY

NEEDS = {
    "evaluator": (
        "a SupervisedEvaluator (or one with network, inferer and data loader); where it has another id, as in a "
        'bundle\'s train.json with evaluate.json, add --attack#evaluator "@validate#evaluator"'
    ),
    "postprocessing": (
        "what the evaluator does with a prediction, which tells softmax from sigmoid; where it has another id, add "
        '--attack#postprocessing "@validate#postprocessing", and where there is none, --attack#postprocessing [] '
        "--attack#activation softmax (or sigmoid)"
    ),
    "output_dir": "where to write; add --output_dir FOLDER",
}


def overlay_path() -> Path:
    """The config to put behind a bundle's own.

    Example:
        >>> overlay_path().name
        'attack_eval.yaml'
    """
    return OVERLAY


def check_configs(config_files: Sequence[str]) -> list[str]:
    """The ids that the overlay needs and does not find in a bundle's configs.

    Args:
        config_files: as they are given to ``monai.bundle run --config_file``, without the overlay.

    Returns:
        One line for each id that is missing, with the way to supply it; empty if there is nothing to do.
    """
    parser = ConfigParser()
    parser.read_config(list(config_files))
    config: Any = parser.config
    missing = []
    for name, how in NEEDS.items():
        if name not in parser:
            nested = [f"{key}#{name}" for key, part in config.items() if isinstance(part, dict) and name in part]
            hint = f" (there is {', '.join(nested)})" if nested else ""
            missing.append(f"{name} is missing{hint}: {how}.")
    return missing
