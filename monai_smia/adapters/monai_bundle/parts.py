"""Parts of a bundle: the items and transforms of its evaluator, its weights, its detector, names of its cases."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.handlers import CheckpointLoader

from monai_smia.dicom import DicomSeriesError, read_dicom_series
from monai_smia.dicom.files import looks_like_dicom
from monai_smia.dicom.series import series_name
from monai_smia.evaluation.errors import cause_of

LONGEST = 60  # characters of a case's name out of its file's


def dataset_of(evaluator: Any) -> tuple[list[dict[str, Any]], Any]:
    """Items and transform of an evaluator's dataset.

    Raises:
        ValueError: if the evaluator has no loader of a MONAI dataset of dictionaries.
    """
    dataset = getattr(getattr(evaluator, "data_loader", None), "dataset", None)
    items, transform = getattr(dataset, "data", None), getattr(dataset, "transform", None)
    if not items or transform is None or not isinstance(items[0], Mapping):
        raise ValueError(
            "evaluator must have a data loader of a MONAI Dataset whose data are dictionaries and whose transform "
            f"loads them, got {type(dataset).__name__} with {0 if items is None else len(items)} items; point the "
            "bundle's dataset_dir or datalist to the cases."
        )
    return [dict(item) for item in items], transform


def load_checkpoints(evaluator: Any) -> None:
    """Load the weights that older bundles leave to a handler, which loads them when the evaluator starts."""
    for handler, _, _ in evaluator._event_handlers.get(Events.STARTED, []):
        loader = getattr(handler, "__self__", handler)
        if isinstance(loader, CheckpointLoader):
            loader(evaluator)


def detector_of(evaluator: Any) -> RetinaNetDetector | None:
    """The detector that a detection bundle's inferer or evaluator holds, if there is one."""
    network = getattr(evaluator, "network", None)
    if isinstance(network, RetinaNetDetector):
        return network
    for holder in (evaluator, evaluator.inferer):
        for value in vars(holder).values():
            if isinstance(value, RetinaNetDetector):
                return value
    return None


def case_names(sources: Sequence[Any]) -> list[str]:
    """A name per case: its file's, with its folder's where that does not tell them apart, then a number.

    Folders of DICOM are named after patients: such a case is called by a hash of its SeriesInstanceUID.

    Args:
        sources: the file or files of each case's image.
    """
    first = [source[0] if isinstance(source, (list, tuple)) else source for source in sources]
    plain = [_short(Path(str(file)).name.lstrip(".").split(".")[0] or "case") for file in first]
    names = [_series_name(source) if is_dicom(source) else name for source, name in zip(sources, plain, strict=True)]
    if len(set(names)) < len(names):
        names = [
            name if is_dicom(file) else _short(f"{Path(str(file)).parent.name}_{name}")
            for file, name in zip(first, names, strict=True)
        ]
    if len(set(names)) < len(names):
        names = [f"{name}_{number:04d}" for number, name in enumerate(names)]
    return names


def check_outside(output_dir: str, sources: Sequence[Any]) -> None:
    """Refuse to write into a folder that is read as a series."""
    here = Path(output_dir).resolve()
    for source in sources:
        if isinstance(source, (str, Path)) and Path(source).is_dir() and here.is_relative_to(Path(source).resolve()):
            raise ValueError(
                "output_dir must lie outside of the folders of the DICOM series, as it would become a part of them."
            )


def _short(name: str) -> str:
    """A name that leaves room for what files are called beside it."""
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def is_dicom(source: Any) -> bool:
    """Whether an image is a DICOM series: a folder, or files of DICOM."""
    parts = source if isinstance(source, (list, tuple)) else [source]
    paths = [Path(str(part)) for part in parts]
    return all(path.is_dir() or looks_like_dicom(path) for path in paths)


def _series_name(source: Any) -> str:
    try:
        uid = read_dicom_series(source).uid
    except (DicomSeriesError, OSError):  # the case will say what is wrong with it
        uid = str(source)
    return series_name(uid)


def explained(error: Exception, source: Any) -> str:
    """What stops a case, in words that say what to do where that is known, else nothing.

    Args:
        error: that stopped it.
        source: the case's file, or its files.
    """
    cause = cause_of(error)
    if isinstance(cause, TypeError) and "required positional argument" in str(cause):
        return (
            f"the network must take an image alone, and wants more: {cause}. What it is prompted with can be held "
            "fixed in a module around it."
        )
    if is_dicom(source) and not isinstance(cause, DicomSeriesError):
        return (
            f"the bundle's reader does not read this series: {cause}; monai_smia.data.DicomSeriesReader reads it, "
            "or says what is wrong with it."
        )
    return ""
