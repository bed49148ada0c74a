"""A folder of a trained nnU-Net: what must be there, said before anything is loaded."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

NEEDED = ("dataset.json", "plans.json")
FOLD = "fold_"
CHECKPOINT = "checkpoint_final.pth"
NUMPY = {f"numpy.{name}" for name in ("ndarray", "dtype")} | {
    f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")
}
PLAIN = NUMPY | {"pathlib.PosixPath", "pathlib.WindowsPath"}  # what checkpoints hold beside tensors, and runs nothing
MONAI_HEAD, MONAI_CHECKPOINT = "nnunet_checkpoint.pth", "model.pt"  # of `monai.apps.nnunet`, which splits a checkpoint


def check_installed() -> None:
    """Raise where nnU-Net is not installed.

    Raises:
        ValueError: that says how to install it.
    """
    try:
        import nnunetv2  # noqa: F401
    except ImportError as error:
        raise ValueError("nnunetv2 is not installed: pip install 'monai_smia[nnunet]'.") from error


def checkpoint_in(folder: Path, checkpoint: str | None) -> str:
    """The name of a checkpoint; None is that of nnU-Net, or of MONAI where the folder is of a bundle that it made."""
    return checkpoint or (MONAI_CHECKPOINT if (folder / MONAI_HEAD).is_file() else CHECKPOINT)


@contextmanager
def nnunets_own(folder: Path, folds: Sequence[int | str], checkpoint: str) -> Iterator[Path]:
    """The folder as nnU-Net loads it: itself, or what `monai.apps.nnunet` made of one, put together again.

    Args:
        folder: with its `folds`, checked.
        folds: to take.
        checkpoint: name of the file in every fold.
    """
    if not (folder / MONAI_HEAD).is_file():
        yield folder
        return
    head = torch.load(folder / MONAI_HEAD, map_location="cpu", weights_only=True)
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name)
        for needed in NEEDED:
            shutil.copy(folder / needed, whole / needed)
        for fold in folds:
            part = torch.load(folder / f"{FOLD}{fold}" / checkpoint, map_location="cpu", weights_only=True)
            (whole / f"{FOLD}{fold}").mkdir()
            weights = part.get("network_weights", part)
            torch.save({**head, "network_weights": weights}, whole / f"{FOLD}{fold}" / checkpoint)
        yield whole


def folds_of(folder: Path, checkpoint: str) -> list[str]:
    """The folds of a model that have a checkpoint, by number, ``all`` last."""
    found = [path.parent.name.removeprefix(FOLD) for path in folder.glob(f"{FOLD}*/{checkpoint}")]
    return sorted(found, key=lambda fold: (not fold.isdigit(), int(fold) if fold.isdigit() else 0))


def check_folder(folder: Path, folds: Sequence[int | str] | None, checkpoint: str) -> list[int | str]:
    """The folds to take of a trained model, once it is known that they are there.

    Args:
        folder: with `NEEDED`, and a folder for every fold.
        folds: that are asked for; None for all that are numbered, or ``all`` where it is alone.
        checkpoint: name of the file in every fold.

    Raises:
        ValueError: that names what is missing, and what is there.
    """
    if not folder.is_dir():
        raise ValueError(f"model folder {folder} does not exist.")
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{folder} is no folder of a trained nnU-Net: {' and '.join(missing)} not there. It is the one that holds "
            f"{', '.join(NEEDED)} and fold_0, such as nnUNetTrainer__nnUNetPlans__3d_fullres."
        )
    for name in NEEDED:
        _check_json(folder / name)
    there = folds_of(folder, checkpoint)
    if not there:
        names = sorted({path.name for path in folder.glob(f"{FOLD}*/*.p*t*")})
        told = f"checkpoints there: {', '.join(names)}" if names else "it has no checkpoints"
        raise ValueError(f"no fold of {folder} has {checkpoint}; {told}.")
    chosen = [str(fold) for fold in folds] if folds is not None else [fold for fold in there if fold.isdigit()] or there
    if not chosen or (absent := [fold for fold in chosen if fold not in there]):
        raise ValueError(
            f"folds must be of those that have {checkpoint}, {', '.join(there)}, got {', '.join(chosen) or 'none'}"
            + (f": {', '.join(absent)} not there." if chosen else ".")
        )
    return [int(fold) if fold.isdigit() else fold for fold in chosen]


def check_plain(folder: Path, folds: Sequence[int | str], checkpoint: str) -> None:
    """Raise where loading a checkpoint would run code: nnU-Net loads it as a pickle, whatever is in it.

    Args:
        folder: with its `folds`, checked.
        folds: to take.
        checkpoint: name of the file in every fold.

    Raises:
        ValueError: that names what it holds.
    """
    for fold in folds:
        path = folder / f"{FOLD}{fold}" / checkpoint
        try:
            held = set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - PLAIN
        except Exception as error:
            raise ValueError(f"{path} is no checkpoint as torch writes it: {error}.") from error
        if held:
            names = ", ".join(sorted(held))
            raise ValueError(
                f"{path} holds {names}, which may run anything when it is loaded, and nnU-Net's own checkpoints hold "
                "nothing of the kind. Where you trust it: trusted=True, --trusted."
            )


def _check_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}.") from error
