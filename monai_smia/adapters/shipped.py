"""The three bundles that come with the package."""

from __future__ import annotations

import shutil
from pathlib import Path

_PACKAGED = Path(__file__).parents[1] / "_bundles"  # where setup.py puts them in a wheel
_CHECKOUT = Path(__file__).parents[2] / "bundles"  # beside the package in a checkout
_OUTPUTS = ("__pycache__", "eval", "output")  # of runs in a checkout


def shipped_bundles() -> dict[str, Path]:
    """The bundles that come with the package: name to folder, by name.

    Raises:
        FileNotFoundError: if the package was installed without them.

    Example:
        >>> sorted(shipped_bundles())
        ['ct_lung_segmentation', 'endoscopic_artefact_detection', 'fundus_dr_grading']
    """
    home = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    found = {path.parents[1].name: path.parents[1] for path in sorted(home.glob("*/configs/metadata.json"))}
    if not found:
        raise FileNotFoundError(f"no bundle lies in {home}: install monai_smia from its wheel, or its checkout.")
    return found


def copy_bundle(name: str, folder: str | Path) -> Path:
    """Copy a bundle of the package, with its weights, to where it can be run, changed and trained.

    Args:
        name: one of `shipped_bundles`.
        folder: the new folder; it must not exist, or be empty.

    Returns:
        The folder.

    Raises:
        ValueError: if there is no such bundle.
        FileExistsError: if the folder holds something already.

    Example:
        >>> import tempfile
        >>> folder = copy_bundle("ct_lung_segmentation", Path(tempfile.mkdtemp()) / "lungs")
        >>> (folder / "configs" / "attack_eval.yaml").is_file()
        True
    """
    bundles = shipped_bundles()
    if name not in bundles:
        raise ValueError(f"bundle must be one of {', '.join(bundles)}, got {name!r}.")
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"folder='{folder}' holds something already: choose one that does not exist, or is empty."
        )
    shutil.copytree(bundles[name], folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_OUTPUTS))
    return folder
