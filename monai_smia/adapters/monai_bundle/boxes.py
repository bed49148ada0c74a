"""Boxes in what a detection bundle's evaluator gives: found by their keys, as corners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.data.box_utils import convert_box_to_standard_mode
from monai.transforms import MapTransform
from torch import Tensor

from monai_smia.adapters.monai_bundle.chain import Chain, leaves
from monai_smia.adapters.monai_bundle.engine import Iteration
from monai_smia.victims.preprocessing import as_plain

WORLD = "AffineBoxToWorldCoordinate"
MODE = "ConvertBoxMode"


@dataclass(frozen=True)
class BoxKeys:
    """Where boxes stand, and in which form.

    Args:
        box: key of boxes.
        label: key of their classes.
        score: key of their scores.
        item_box: key of boxes in the dataset's items.
        item_label: key of their classes there.
        mode: form that postprocessing leaves them in, such as ``"cccwhd"``; None for corners.
    """

    box: str
    label: str
    score: str
    item_box: str
    item_label: str
    mode: Any = None

    @classmethod
    def of_detector(cls, detector: RetinaNetDetector, item_box: str, item_label: str, mode: Any) -> BoxKeys:
        """As a detector names them."""
        names = (detector.target_box_key, detector.target_label_key, detector.pred_score_key)
        return cls(*names, item_box, item_label, mode)

    def of(self, found: Any) -> dict[str, Tensor]:
        """Boxes, classes and scores of a mapping, or of the first of a list."""
        found = found[0] if isinstance(found, (list, tuple)) else found
        keys = {"boxes": self.box, "labels": self.label, "scores": self.score}
        return {name: as_plain(torch.as_tensor(found[key])).detach() for name, key in keys.items() if key in found}

    def of_item(self, item: Mapping[Any, Any]) -> dict[str, Tensor]:
        """Boxes and classes of an item, or of a batch of one."""
        boxes, labels = (as_plain(torch.as_tensor(item[key])) for key in (self.item_box, self.item_label))
        return {"boxes": boxes.reshape(-1, boxes.shape[-1]), "labels": labels.reshape(-1)}

    def holds(self, found: Any) -> bool:
        """Whether something is a mapping of boxes with scores, or a list of them."""
        found = found[0] if isinstance(found, (list, tuple)) and found else found
        return isinstance(found, Mapping) and self.box in found and self.score in found


def decided_boxes(iteration: Iteration, keys: BoxKeys) -> dict[str, Tensor]:
    """The boxes that are left after postprocessing, as corners.

    Raises:
        ValueError: if there are none.
    """
    pred = iteration.output.get("pred")
    found = pred if keys.holds(pred) else iteration.output
    if not keys.holds(found):
        raise ValueError(
            f"postprocessing must leave {keys.box!r} and {keys.score!r}, got {sorted(map(str, iteration.output))}."
        )
    return _corners(keys.of(found), keys.mode)


def true_boxes(iteration: Iteration, keys: BoxKeys) -> dict[str, Tensor]:
    """The boxes of the item as they come out of the bundle's chain.

    Raises:
        ValueError: if they are lost on the way.
    """
    label = iteration.output.get("label")
    label = label[0] if isinstance(label, (list, tuple)) and label else label
    if isinstance(label, Mapping) and keys.box in label:
        return {name: value for name, value in keys.of(label).items() if name != "scores"}
    if keys.item_box not in iteration.batch or keys.item_label not in iteration.batch:
        left = sorted(map(str, iteration.batch))
        raise ValueError(f"items must keep {keys.item_box!r} and {keys.item_label!r} to the end, got {left}.")
    return keys.of_item(iteration.batch)


def box_mode(postprocessing: Sequence[Any]) -> Any:
    """The form that postprocessing leaves boxes in; None where it does not convert them."""
    modes = [
        getattr(t, "dst_mode", None) or getattr(getattr(t, "converter", None), "dst_mode", None)
        for part in postprocessing
        for t in leaves(part)
        if type(t).__name__.startswith(MODE)
    ]
    return modes[-1] if modes else None


def to_world(postprocessing: Sequence[Any]) -> bool:
    """Whether postprocessing takes boxes to world coordinates."""
    return any(type(t).__name__.startswith(WORLD) for part in postprocessing for t in leaves(part))


def _corners(found: dict[str, Tensor], mode: Any) -> dict[str, Tensor]:
    if mode is None or not len(found["boxes"]):
        return found
    return {**found, "boxes": torch.as_tensor(convert_box_to_standard_mode(found["boxes"], mode=mode))}


def check_boxes(chain: Chain, box_key: str, postprocessing: Sequence[Any]) -> None:
    """Refuse boxes whose coordinates nothing says, or that are not compared in one system of coordinates.

    Args:
        chain: of the dataset.
        box_key: key of the boxes in its items.
        postprocessing: of the evaluator.

    Raises:
        ValueError: with what to do.
    """
    if not any(isinstance(t, MapTransform) and box_key in getattr(t, "keys", ()) for t in leaves(chain.compose)):
        raise ValueError(
            f"the boxes of items go through no transform of the bundle, and nothing says whether {box_key!r} are "
            "corners in voxels or world coordinates; use its train and evaluate configs, or --attack#unsupervised true."
        )
    if to_world(postprocessing):
        raise ValueError(
            "postprocessing takes the boxes that are found to world coordinates and leaves those of the items: the "
            "bundle does not compare them; use its evaluate config, or --attack#unsupervised true."
        )
