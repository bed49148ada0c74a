"""A bundle's evaluator taken apart: what loads a case, what preprocesses it, what decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.handlers import CheckpointLoader
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, MapTransform
from monai.transforms.utils import allow_missing_keys_mode


@dataclass(frozen=True)
class Chain:
    """The transforms of a bundle's dataset in two parts.

    Args:
        loading: from an item to images and labels on the grid of their files: LoadImaged, EnsureChannelFirstd and what
            lies between them, and whatever touches the label alone.
        preprocessing: the rest, between the file's image and the network.
        image_key: key of the image.
    """

    loading: list[Callable]
    preprocessing: list[Callable]
    image_key: str

    def read(self, path: Any) -> Any:
        """An image ``(C, *spatial)`` as the bundle loads it, without a label."""
        compose = Compose(self.loading)
        with allow_missing_keys_mode(compose):
            return compose({self.image_key: str(path)})[self.image_key]


def split_chain(transform: Any, image_key: str) -> Chain:
    """Take a dataset's transforms apart where the image has been loaded.

    Raises:
        ValueError: if they do not load the image by a dictionary transform.
    """
    compose = transform if isinstance(transform, Compose) else Compose(transform)
    transforms: Sequence[Callable] = compose.flatten().transforms
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
    """What older bundles leave to a handler: the weights, loaded when the evaluator starts."""
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
    """What postprocessing makes of logits.

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


def _flags(transform: Any, name: str) -> Sequence[Any]:
    """A setting of Activations or AsDiscrete, or of their dictionary forms, which hold one per key."""
    value = getattr(transform, name, None)
    return value if isinstance(value, (list, tuple)) else (value,)


def case_names(items: Sequence[Mapping[str, Any]], image_key: str) -> list[str]:
    """A name per case: its file's, with its folder's where that does not tell them apart, then a number."""
    files = [item[image_key][0] if isinstance(item[image_key], (list, tuple)) else item[image_key] for item in items]
    names = [Path(str(file)).name.split(".")[0] for file in files]
    if len(set(names)) < len(names):
        names = [f"{Path(str(file)).parent.name}_{name}" for file, name in zip(files, names, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name}_{number:04d}" for number, name in enumerate(names)]
    return names
