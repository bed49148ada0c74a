"""Frames with boxes: brought to one size, and drawn anew for training.

MONAI's box transforms take one zoom for all images; frames of many sizes need their own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import TransformBackends
from torch import Tensor
from torch.nn import functional as F

from monai_smia.targets.endoscopy.artefacts import add_artefacts

__all__ = ["BoxTensorsd", "FitFramed", "RandArtefactsd", "RandFramed", "collate_frames"]


class FitFramed(MapTransform):
    """Scales a frame and its boxes into a canvas of one size, sides in proportion, zeros below and to the right.

    Args:
        keys: key of the image, ``(C, width, height)`` as MONAI loads pictures.
        size: width and height of the canvas.
        label_key: key of the label, ``{"boxes": ..., "labels": ...}``; may be absent.

    Raises:
        ValueError: if a frame has not two spatial axes, or `size` is not two positive whole numbers.

    Example:
        >>> item = {"image": torch.ones(3, 80, 20), "label": {"boxes": [[8, 4, 40, 12]], "labels": [0]}}
        >>> fitted = FitFramed("image", size=(40, 40))(item)
        >>> fitted["image"].shape, fitted["label"]["boxes"].tolist(), float(fitted["image"][..., 10:].max())
        (torch.Size([3, 40, 40]), [[4.0, 2.0, 20.0, 6.0]], 0.0)
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, keys: str | Sequence[str], size: Sequence[int], label_key: str = "label") -> None:
        super().__init__(keys)
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size must be two positive whole numbers, width and height, got {size}.")
        self.size = tuple(size)
        self.label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item, its image ``(C, *size)`` a plain float tensor, its boxes and labels tensors."""
        item = dict(data)
        for key in self.key_iterator(item):
            image = torch.as_tensor(item[key]).float()
            if image.ndim != 3:
                raise ValueError(f"{key} must be a picture (C, width, height), got {tuple(image.shape)}.")
            old = image.shape[1:]
            scale = min(new / side for new, side in zip(self.size, old, strict=True))
            new = [min(round(side * scale), limit) for side, limit in zip(old, self.size, strict=True)]
            image = F.interpolate(image[None], size=new, mode="bilinear", antialias=True)[0]
            item[key] = F.pad(image, [0, self.size[1] - new[1], 0, self.size[0] - new[0]])
        if self.label_key in item:
            label = _tensors(item[self.label_key])
            factors = torch.tensor([n / o for n, o in zip(new, old, strict=True)] * 2)
            item[self.label_key] = {**label, "boxes": label["boxes"] * factors}
        return item


class BoxTensorsd(MapTransform):
    """Turns the lists of a label into tensors, ``boxes (N, 4)`` and ``labels (N,)``, N = 0 included.

    Example:
        >>> item = BoxTensorsd("label")({"label": {"boxes": [], "labels": []}})
        >>> item["label"]["boxes"].shape, item["label"]["labels"].dtype
        (torch.Size([0, 4]), torch.int64)
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with tensors."""
        return {**data, **{key: _tensors(data[key]) for key in self.key_iterator(dict(data))}}


class RandFramed(RandomizableTransform, MapTransform):
    """Flips, turns, zooms and shifts a frame with its boxes, and changes its exposure, tint and tone.

    Args:
        keys: key of the image ``(C, width, height)`` in [0, 1].
        label_key: key of the label, ``{"boxes": (N, 4), "labels": (N,)}``.
        zoom: range of the zoom.
        shift: largest shift as a share of each side.
        gain: largest change of the exposure, and half of it of each color.
        turn: probability of a turn by 90 degrees; what no longer fits is cut off.
        tone: largest change of the logarithm of gamma and of the saturation, and of the hue in radians.
        visible: a box of which less than this share is left is dropped.

    Example:
        >>> item = {"image": torch.rand(3, 64, 64), "label": {"boxes": torch.tensor([[8.0, 8, 30, 20]]),
        ...         "labels": torch.tensor([1])}}
        >>> drawn = RandFramed("image").set_random_state(0)(item)
        >>> drawn["image"].shape, len(drawn["label"]["boxes"]) == len(drawn["label"]["labels"])
        (torch.Size([3, 64, 64]), True)
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        keys: str,
        label_key: str = "label",
        *,
        zoom: tuple[float, float] = (0.75, 1.4),
        shift: float = 0.15,
        gain: float = 0.25,
        turn: float = 0.0,
        tone: float = 0.0,
        visible: float = 0.35,
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob=1.0)
        if not 0 < zoom[0] <= zoom[1]:
            raise ValueError(f"zoom must be (low, high) with 0 < low <= high, got {zoom}.")
        if not 0 <= turn <= 1:
            raise ValueError(f"turn must be a probability in [0, 1], got {turn}.")
        if tone < 0:
            raise ValueError(f"tone must be >= 0, got {tone}.")
        self.label_key, self.zoom, self.shift, self.gain, self.visible = label_key, zoom, shift, gain, visible
        self.turn, self.tone = turn, tone

    def randomize(self, data: Any = None) -> None:
        """Draw the next change."""
        self.flips = self.R.random(2) < 0.5
        zoom = np.exp(self.R.uniform(*np.log(self.zoom)))
        self.zooms = zoom * np.exp(self.R.uniform(-0.12, 0.12, 2))
        self.shifts = self.R.uniform(-self.shift, self.shift, 2)
        self.gains = np.exp(self.R.uniform(-self.gain, self.gain) + self.R.uniform(-0.5, 0.5, 3) * self.gain)
        self.turned = bool(self.turn) and self.R.random() < self.turn
        self.tones = self.R.uniform(-self.tone, self.tone, 3) if self.tone else None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with a changed frame of the same size."""
        item = dict(data)
        self.randomize()
        (key,) = self.keys
        image: Tensor = item[key]
        boxes = item[self.label_key]["boxes"]
        size = np.array(image.shape[1:], float)
        if self.turned:
            image, boxes = image.transpose(1, 2), boxes[:, [1, 0, 3, 2]]
        # output = scale * input + offset along each axis, in pixels
        scale = np.where(self.flips, -1, 1) * self.zooms
        offset = size / 2 + self.shifts * size - scale * np.array(image.shape[1:]) / 2
        item[key] = _resampled(image, scale, offset, size)
        item[key] = (item[key] * torch.tensor(self.gains, dtype=image.dtype).view(-1, 1, 1)).clamp(0, 1)
        if self.tones is not None:
            item[key] = _toned(item[key], *self.tones)
        factor, add = (torch.tensor(np.tile(v, 2), dtype=boxes.dtype) for v in (scale, offset))
        moved = boxes * factor + add
        corners = torch.stack([moved[:, :2], moved[:, 2:]])
        moved = torch.cat([corners.amin(0), corners.amax(0)], 1)
        limit = torch.tensor(size, dtype=boxes.dtype).repeat(2)
        inside = torch.minimum(moved.clamp_min(0), limit)
        keep = _area(inside) >= self.visible * _area(moved)
        keep &= ((inside[:, 2:] - inside[:, :2]) >= 2).all(1)
        item[self.label_key] = {"boxes": inside[keep], "labels": item[self.label_key]["labels"][keep]}
        return item


class RandArtefactsd(RandomizableTransform, MapTransform):
    """Draws artefacts of the light, the lens and things before the tissue onto a frame; its boxes stay as they are.

    They are those of :func:`add_artefacts`. An object keeps its box whatever is drawn over it.

    Args:
        keys: key of the image ``(3, width, height)`` in [0, 1].
        prob: probability that artefacts are drawn.

    Raises:
        ValueError: if `prob` is no probability.

    Example:
        >>> item = {"image": torch.full((3, 96, 80), 0.5)}
        >>> drawn = RandArtefactsd("image", prob=1.0).set_random_state(3)(item)
        >>> drawn["image"].shape, bool((drawn["image"] != item["image"]).any())
        (torch.Size([3, 96, 80]), True)
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, keys: str, *, prob: float = 0.1) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be a probability in [0, 1], got {prob}.")
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob=prob)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item, its frame with or without artefacts."""
        item = dict(data)
        self.randomize(None)
        if self._do_transform:
            (key,) = self.keys
            frame = torch.as_tensor(item[key]).permute(2, 1, 0).numpy()
            drawn = add_artefacts(frame, seed=int(self.R.randint(2**31)))
            item[key] = torch.from_numpy(drawn.image.transpose(2, 1, 0).copy())
        return item


def collate_frames(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stacks images and lists the rest, as images hold different numbers of boxes.

    Raises:
        ValueError: if the images have different sizes.
    """
    sizes = sorted({tuple(item["image"].shape) for item in items})
    if len(sizes) > 1:
        raise ValueError(f"image must have one size in a batch, got {sizes}; bring frames to one size with FitFramed.")
    rest = {key: [item[key] for item in items] for key in items[0] if key != "image"}
    return {"image": torch.stack([item["image"] for item in items]), **rest}


def _tensors(label: Mapping[str, Any]) -> dict[str, Tensor]:
    return {
        "boxes": torch.as_tensor(label["boxes"], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.as_tensor(label["labels"], dtype=torch.long).reshape(-1),
    }


def _resampled(image: Tensor, scale: Any, offset: Any, size: Any) -> Tensor:
    """``output(scale * p + offset) = image(p)`` of `size`, zeros where there was nothing."""
    inverse, back = 1 / scale, -offset / scale
    axes = [
        ((torch.arange(int(n), dtype=image.dtype) + 0.5) * i + b) * 2 / old - 1
        for n, old, i, b in zip(size, image.shape[1:], inverse, back, strict=True)
    ]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)[None]  # grid_sample takes the last axis first
    return F.grid_sample(image[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def _toned(image: Tensor, gamma: float, saturation: float, hue: float) -> Tensor:
    """A picture to the power of ``exp(gamma)``, its colors ``exp(saturation)`` as strong and turned by `hue`."""
    image = image ** float(np.exp(gamma))
    gray = image.mean(0, keepdim=True)
    red, green, blue = (image - gray) * float(np.exp(saturation))
    across = torch.stack([blue - green, red - blue, green - red]) / 3**0.5  # turned by 90 degrees about the gray axis
    return (gray + float(np.cos(hue)) * torch.stack([red, green, blue]) + float(np.sin(hue)) * across).clamp(0, 1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp_min(0).prod(1)
