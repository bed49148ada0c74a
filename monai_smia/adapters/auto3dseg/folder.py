"""A folder of an Auto3DSeg algorithm: what must be there, said before anything in it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

INFER = "scripts/infer.py"
CONFIG = "configs/hyper_parameters.yaml"
ENDINGS = (".yaml", ".yml", ".json")


def check_folder(folder: Path, *, trusted: bool) -> None:
    """Raise where a folder is none of Auto3DSeg's, or its scripts may not run.

    Args:
        folder: of the algorithm.
        trusted: that its scripts may run.

    Raises:
        ValueError: that says what is missing.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} does not exist: it is a folder that Auto3DSeg has written, such as segresnet_0.")
    for name in (INFER, CONFIG):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} is no algorithm of Auto3DSeg: it has no {name}.")
    if not trusted:
        raise ValueError(
            f"{folder / INFER} is a program, which decides every figure and may do anything when it runs: where you "
            "trust the folder, say so with --trusted (trusted=True)."
        )


def settings_of(folder: Path) -> dict[str, Any]:
    """The hyperparameters of a folder, as they are written, those of training among all others.

    Raises:
        ValueError: if they cannot be read.
    """
    try:
        found: dict[str, Any] = ConfigParser.load_config_file(str(folder / CONFIG))
    except Exception as error:  # of the parser of YAML
        raise ValueError(f"{folder / CONFIG} cannot be read: {error}.") from error
    return {**found.get("training", {}), **found} if isinstance(found.get("training"), dict) else dict(found)


def configs_of(folder: Path) -> list[Path]:
    """Its config files."""
    return sorted(path for path in (folder / "configs").iterdir() if path.suffix in ENDINGS)


def empty_datalist(path: Path) -> Path:
    """A list of no cases: some templates read theirs when they start, though it says nothing of the model."""
    path.write_text(json.dumps({"testing": []}), encoding="utf-8")
    return path
