"""The seven artefacts of EAD-2019, drawn onto clean endoscopy frames with exact boxes.

A frame is an array ``(H, W, 3)`` of float32 in [0, 1]. Every artefact is an opacity map ``(H, W)`` together with what
it shows; its box is the extent of the opacity above one half, so that the box is exact by construction. First the
artefacts of the light and the lens are drawn (they change what is there), then the things in front of the tissue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_smia.targets.endoscopy import light, objects
from monai_smia.targets.endoscopy.clean import tissue_field
from monai_smia.targets.endoscopy.shapes import Drawn, Map

__all__ = ["EAD_CLASSES", "ArtefactFrame", "add_artefacts"]

Box = tuple[int, int, int, int]  # x1, y1, x2, y2

EAD_CLASSES = ("specularity", "saturation", "artifact", "blur", "contrast", "bubbles", "instrument")
# What to say of a class that the other detector of the bundle knows.
DETECTED_BY = dict.fromkeys(EAD_CLASSES, "; the endoscopy bundle knows it with configs/artefacts.yaml")
DETECTED_BY |= {"polyp": "; the endoscopy bundle knows it without configs/artefacts.yaml"}

# How often each class is tried on a frame; a frame of EAD-2019 has many specularities and seldom an instrument.
_FREQUENCY = {
    "blur": (0.35, 1),
    "contrast": (0.45, 1),
    "saturation": (0.5, 1),
    "artifact": (0.5, 2),
    "bubbles": (0.45, 2),
    "instrument": (0.4, 1),
    "specularity": (0.75, 4),
}


@dataclass(frozen=True)
class ArtefactFrame:
    """A frame with its artefacts.

    Attributes:
        image: float32 ``(H, W, 3)`` in [0, 1].
        boxes: float32 ``(N, 4)``, x1, y1, x2, y2 in pixels, x along the width; x2 and y2 are exclusive.
        labels: int64 ``(N,)``, indices into `EAD_CLASSES`.
    """

    image: Map
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def add_artefacts(frame: Map, *, seed: int = 0, classes: Sequence[str] = EAD_CLASSES) -> ArtefactFrame:
    """Draw random artefacts onto a clean frame.

    Args:
        frame: ``(H, W, 3)`` in [0, 1]; black surroundings, text and colored panels are left alone.
        seed: a non-negative integer; the same seed draws the same artefacts.
        classes: which artefacts may appear, out of `EAD_CLASSES`.

    Returns:
        The frame with its boxes; none where the frame shows too little tissue.

    Raises:
        ValueError: if the frame is not ``(H, W, 3)`` in [0, 1] with both sides at least 64, or a class is unknown.

    Example:
        >>> drawn = add_artefacts(np.full((96, 128, 3), 0.5, np.float32), seed=3)
        >>> drawn.image.shape, drawn.boxes.shape[1], len(drawn.boxes) == len(drawn.labels)
        ((96, 128, 3), 4, True)
    """
    frame = checked_frame(frame)
    unknown = sorted(set(classes) - set(EAD_CLASSES))
    if unknown:
        raise ValueError(f"classes must be out of {', '.join(EAD_CLASSES)}; got {', '.join(unknown)}.")
    rng = np.random.default_rng(seed)
    field = tissue_field(frame)
    image = frame
    boxes: list[Box] = []
    labels: list[int] = []
    if field.mean() > 0.1:
        for name in (name for name in _FREQUENCY if name in classes):
            probability, most = _FREQUENCY[name]
            count = int(rng.integers(1, most + 1)) if rng.random() < probability else 0
            for _ in range(count):
                drawn, opacity = _ARTEFACTS[name](image, field, rng)
                box = extent(opacity)
                if box is None or _crowded(box, name, boxes, labels):
                    continue
                image = drawn
                boxes.append(box)
                labels.append(EAD_CLASSES.index(name))
    return ArtefactFrame(
        np.clip(image, 0, 1), np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64).reshape(-1)
    )


_ARTEFACTS: dict[str, Callable[[Map, Any, np.random.Generator], Drawn]] = {
    "blur": light.blur,
    "contrast": light.contrast,
    "saturation": light.saturation,
    "artifact": light.artifact,
    "bubbles": objects.bubbles,
    "instrument": objects.instrument,
    "specularity": objects.specularity,
}


def checked_frame(frame: Map) -> Map:
    """A frame to draw on, in float32.

    Raises:
        ValueError: if it is not ``(H, W, 3)`` in [0, 1] with both sides at least 64.
    """
    frame = np.asarray(frame, np.float32)
    if frame.ndim != 3 or frame.shape[2] != 3 or min(frame.shape[:2]) < 64:
        raise ValueError(f"frame must have the shape (H, W, 3) with both sides at least 64, got {frame.shape}.")
    if not (np.isfinite(frame).all() and frame.min() >= 0 and frame.max() <= 1):
        raise ValueError(f"frame must lie in [0, 1], got values from {frame.min():g} to {frame.max():g}.")
    return frame


def extent(opacity: Map) -> Box | None:
    """The box of what is more than half opaque; None where that is next to nothing."""
    rows, columns = np.nonzero(opacity > 0.5)
    if len(rows) < 12:
        return None
    x1, y1, x2, y2 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return (int(x1), int(y1), int(x2), int(y2)) if min(x2 - x1, y2 - y1) >= 5 else None


def are_apart(box: Box, other: Box) -> bool:
    """Whether at least four pixels lie between two boxes."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return width <= -4 or height <= -4


def _crowded(box: Box, name: str, boxes: Sequence[Box], labels: Sequence[int]) -> bool:
    """Whether another artefact of the class lies there already, so that two could not be told apart."""
    return any(
        EAD_CLASSES[label] == name and not are_apart(box, other) for other, label in zip(boxes, labels, strict=True)
    )
