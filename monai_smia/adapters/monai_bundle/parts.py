"""A bundle's evaluator taken apart: what loads a case, what preprocesses it, what decides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Events
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.data import MetaTensor
from monai.handlers import CheckpointLoader
from monai.transforms import Compose, ConcatItemsd, EnsureChannelFirstd, LoadImaged, MapTransform, SpatialResample
from monai.transforms.utils import allow_missing_keys_mode
from torch import Tensor

from monai_smia.dicom import DicomSeriesError, read_dicom_series
from monai_smia.dicom.files import looks_like_dicom
from monai_smia.victims.preprocessing import as_plain


@dataclass(frozen=True)
class Chain:
    """The transforms of a bundle's dataset in two parts.

    Args:
        loading: from an item to images and labels on the grid of their files: LoadImaged, EnsureChannelFirstd and what
            lies between them, and whatever touches the label alone.
        preprocessing: the rest, between the file's image and the network.
        image_key: key of the image.
        source_keys: keys that the image is put together from, where it has no file of its own; all transforms
            are preprocessing then.
    """

    loading: list[Callable]
    preprocessing: list[Callable]
    image_key: str
    source_keys: tuple[Hashable, ...] = ()

    def read(self, path: Any) -> Any:
        """An image ``(C, *spatial)`` as the bundle loads it, without a label."""
        compose = Compose(self.loading)
        source = [str(part) for part in path] if isinstance(path, (list, tuple)) else str(path)
        with allow_missing_keys_mode(compose):
            return compose({self.image_key: source})[self.image_key]

    def source(self, item: Mapping[Any, Any]) -> Any:
        """The file of an item's image, or its files."""
        return [item[key] for key in self.source_keys] if self.source_keys else item[self.image_key]


def split_chain(transform: Any, image_key: str, item: Mapping[Any, Any]) -> Chain:
    """Take a dataset's transforms apart where the image of its items has been loaded.

    Raises:
        ValueError: if they do not load the image by a dictionary transform, or items have none.
    """
    compose = transform if isinstance(transform, Compose) else Compose(transform)
    transforms: Sequence[Callable] = compose.flatten().transforms
    source_keys = next((t.keys for t in transforms if isinstance(t, ConcatItemsd) and t.name == image_key), ())
    missing = [key for key in source_keys or (image_key,) if key not in item]
    if missing:
        raise ValueError(
            f"items have no {missing[0]!r}, only {sorted(map(str, item))}: say which with --attack#image_key."
        )
    if source_keys:
        return Chain([], list(transforms), image_key, tuple(source_keys))
    ends = [
        i for i, t in enumerate(transforms) if isinstance(t, (LoadImaged, EnsureChannelFirstd)) and image_key in t.keys
    ]
    if not ends:
        names = ", ".join(type(t).__name__ for t in transforms) or "none"
        raise ValueError(
            f"preprocessing must load the image {image_key!r} with LoadImaged, got the transforms: {names}; say which "
            "key the image has with --attack#image_key."
        )
    loading = list(transforms[: ends[-1] + 1])
    preprocessing: list[Callable] = []
    for t in transforms[ends[-1] + 1 :]:
        label_alone = isinstance(t, MapTransform) and image_key not in t.keys
        (loading if label_alone else preprocessing).append(t)
    return Chain(loading, preprocessing, image_key)


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
    if isinstance(evaluator.network, RetinaNetDetector):
        return evaluator.network
    for holder in (evaluator, evaluator.inferer):
        for value in vars(holder).values():
            if isinstance(value, RetinaNetDetector):
                return value
    return None


def activation_of(postprocessing: Any) -> str:
    """The activation of a bundle's postprocessing, ``"softmax"`` or ``"sigmoid"``.

    Raises:
        ValueError: if it does not tell.
    """
    transforms = Compose(postprocessing or []).flatten().transforms
    for t in transforms:
        for name in ("softmax", "sigmoid"):
            if any(_flags(t, name)):
                return name
    for t in transforms:
        if any(_flags(t, "argmax")):
            return "softmax"
        if any(v is not None for v in _flags(t, "threshold")):
            return "sigmoid"
    names = ", ".join(type(t).__name__ for t in transforms) or "no transforms"
    raise ValueError(
        f"postprocessing does not tell softmax from sigmoid ({names}): say it with --attack#activation softmax (or "
        "sigmoid)."
    )


def later_steps(postprocessing: Any) -> list[str]:
    """Transforms of postprocessing that change a decision once it is made, of which the evaluation knows nothing."""
    later = ("KeepLargest", "RemoveSmall", "FillHoles", "LabelFilter")
    names = [type(t).__name__ for t in Compose(postprocessing or []).flatten().transforms]
    return [name for name in names if name.startswith(later)]


def on_grid_of(mask: MetaTensor, image: MetaTensor) -> Tensor:
    """A mask where an image lies after preprocessing, nearest neighbor; False outside of it."""
    if mask.shape[1:] == image.shape[1:] and np.allclose(mask.affine, image.affine):
        return as_plain(mask)
    resample = SpatialResample(mode="nearest", padding_mode="zeros", align_corners=False, dtype=np.float32)
    return as_plain(resample(mask.float(), dst_affine=image.affine, spatial_size=image.shape[1:])) > 0.5


def _flags(transform: Any, name: str) -> Sequence[Any]:
    """A setting of Activations or AsDiscrete, or of their dictionary forms, which hold one per key."""
    value = getattr(transform, name, None)
    return value if isinstance(value, (list, tuple)) else (value,)


def case_names(sources: Sequence[Any]) -> list[str]:
    """A name per case: its file's, with its folder's where that does not tell them apart, then a number.

    Folders of DICOM are named after patients: such a case is called by a hash of its SeriesInstanceUID.

    Args:
        sources: the file or files of each case's image.
    """
    first = [source[0] if isinstance(source, (list, tuple)) else source for source in sources]
    plain = [Path(str(file)).name.split(".")[0] for file in first]
    names = [_series_name(source) if is_dicom(source) else name for source, name in zip(sources, plain, strict=True)]
    if len(set(names)) < len(names):
        names = [
            name if is_dicom(file) else f"{Path(str(file)).parent.name}_{name}"
            for file, name in zip(first, names, strict=True)
        ]
    if len(set(names)) < len(names):
        names = [f"{name}_{number:04d}" for number, name in enumerate(names)]
    return names


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
    return f"series_{hashlib.sha256(uid.encode()).hexdigest()[:12]}"
