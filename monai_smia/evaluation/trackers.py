"""Experiment trackers by their names, as commands have them: handlers of MONAI and Ignite that send nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from monai.utils import OptionalImportError

from monai_smia.evaluation.tracking import TAG
from monai_smia.nearest import nearest


def _mlflow(folder: Path) -> Any:
    from monai.handlers import MLFlowHandler

    database = f"sqlite:///{(folder / 'mlruns.db').resolve()}"
    return MLFlowHandler(tracking_uri=database, experiment_name=TAG, iteration_log=False, close_on_complete=True)


def _tensorboard(folder: Path) -> Any:
    from monai.handlers import TensorBoardStatsHandler

    return TensorBoardStatsHandler(log_dir=str(folder / "events"), iteration_log=False)


def _wandb(folder: Path) -> Any:
    from ignite.handlers.wandb_logger import WandBLogger

    return WandBLogger(mode="offline", project=TAG, dir=str(folder))


TRACKERS: dict[str, Callable[[Path], Any]] = {"mlflow": _mlflow, "tensorboard": _tensorboard, "wandb": _wandb}


def trackers(names: Sequence[str], folder: str | Path) -> list[Any]:
    """Handlers that write into the output folder, and send nothing.

    Args:
        names: of `TRACKERS`: ``"mlflow"`` (``mlruns.db``), ``"tensorboard"`` (``events``), ``"wandb"`` (``wandb``,
            offline).
        folder: output folder of the evaluation; it is made where it is not there.

    Raises:
        ValueError: if a name is none of them, or its package is not installed.

    Example:
        >>> trackers(["mlfow"], "out")
        Traceback (most recent call last):
        ValueError: tracking must be of mlflow, tensorboard, wandb, got 'mlfow'; did you mean mlflow?
    """
    for name in names:
        if name not in TRACKERS:
            raise ValueError(f"tracking must be of {', '.join(TRACKERS)}, got {name!r}{nearest(name, TRACKERS)}")
    Path(folder).mkdir(parents=True, exist_ok=True)
    found = []
    for name in dict.fromkeys(names):
        try:
            found.append(TRACKERS[name](Path(folder)))
        except (ImportError, RuntimeError, OptionalImportError) as error:  # as MONAI and Ignite say it
            raise ValueError(
                f"tracking by {name} needs its package: pip install 'monai_smia[tracking]' ({error})."
            ) from error
    return found
