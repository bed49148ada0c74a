"""The gates: every image and label that comes in, and every prediction that is scored, is checked here."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor


def check_image(image: Any) -> None:
    """Raise a ValueError where a batch of images is not one that a network can be asked about.

    Args:
        image: ``(B, C, *spatial)``, finite.

    Example:
        >>> check_image(torch.tensor([[[[0.0, torch.nan]]]]))
        Traceback (most recent call last):
        ValueError: image must be finite, got 1 NaN or infinite voxels of 2.
    """
    if not isinstance(image, Tensor) or image.ndim < 3 or not image.numel():
        got = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(f"image must be a non-empty tensor (B, C, *spatial), got {got}.")
    bad = _not_finite(plain_of(image))
    if bad is not None:
        raise ValueError(f"image must be finite, got {int(bad.sum())} NaN or infinite voxels of {bad.numel()}.")


def check_label_map(image: Tensor, label: Any) -> None:
    """Raise a ValueError where a label map does not lie on the image's grid.

    Args:
        image: ``(B, C, *spatial)``.
        label: ``(B, K, *spatial)``.
    """
    if not isinstance(label, Tensor):
        raise ValueError(f"label must be a tensor, got {type(label).__name__}.")
    if label.ndim != image.ndim or len(label) != len(image) or label.shape[2:] != image.shape[2:]:
        raise ValueError(
            f"label must lie on the image's grid: image {tuple(image.shape)}, so the label is "
            f"({len(image)}, K, {', '.join(map(str, image.shape[2:]))}), got {tuple(label.shape)}."
        )


def check_same_grid(image: Any, label: Any) -> None:
    """Raise a ValueError where image and label are MetaTensors of different affines."""
    if not (isinstance(image, MetaTensor) and isinstance(label, MetaTensor)) or label.ndim != image.ndim:
        return
    ours, theirs = (t.affine.cpu().double() for t in (image, label))  # one, or one per sample
    if not torch.allclose(ours, theirs, atol=1e-3):
        raise ValueError(
            f"label must lie on the image's grid: the affines differ, image {ours.tolist()}, label {theirs.tolist()}; "
            "resample the label to the image first."
        )


def check_prediction(prediction: Any) -> None:
    """Raise a ValueError that names the samples where a prediction is NaN or infinite.

    Args:
        prediction: a tensor, or dictionaries and lists of tensors ``(B, ...)`` (the maps of a detector's heads).

    Example:
        >>> check_prediction(torch.tensor([[0.0, 1.0], [torch.nan, 2.0]]))
        Traceback (most recent call last):
        ValueError: the network's prediction is NaN or infinite for samples [1]: 1 of 4 values.
    """
    if _PASSED.holds(prediction):
        return
    samples: set[int] = set()
    count = total = 0
    for tensor in tensors_of(prediction):
        total += tensor.numel()
        bad = _not_finite(tensor)
        if bad is not None:
            count += int(bad.sum())
            samples |= set(bad.flatten(1).any(1).nonzero().flatten().tolist()) if bad.ndim > 1 else {0}
    if count:
        raise ValueError(
            f"the network's prediction is NaN or infinite for samples {sorted(samples)}: {count} of {total} values."
        )
    _PASSED.note(prediction)


class Passed:
    """The tensor that passed a check last: the same one, not written to since, need not be looked at again.

    Example:
        >>> passed, tensor = Passed(), torch.zeros(2)
        >>> passed.note(tensor)
        >>> passed.holds(tensor), passed.holds(tensor.clone()), passed.holds(tensor.add_(1))
        (True, False, False)
    """

    def __init__(self) -> None:
        self._last: tuple[weakref.ref[Tensor], int, Any] | None = None

    def note(self, tensor: Any, against: Any = None) -> None:
        """Remember a tensor, and what it was checked against; what is no tensor, or counts no writing, is forgotten."""
        known = isinstance(tensor, Tensor) and not tensor.is_inference()
        self._last = (weakref.ref(tensor), tensor._version, against) if known else None

    def holds(self, tensor: Any, against: Any = None) -> bool:
        """Whether it is the tensor that was noted, as it was, checked against the same."""
        if self._last is None or not isinstance(tensor, Tensor):
            return False
        last, version, checked = self._last
        return last() is tensor and version == tensor._version and checked == against


_PASSED = Passed()


class SeenShapes:
    """The shapes of a network's predictions for one batch: the same at every call."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] | None = None

    def check(self, prediction: Any) -> None:
        """Note the shapes of the first prediction, without the batch, and hold all others to them.

        Raises:
            ValueError: if they differ.
        """
        shapes = [tuple(tensor.shape[1:]) for tensor in tensors_of(prediction)]
        if self.shapes is None:
            self.shapes = shapes
        elif shapes != self.shapes:
            raise ValueError(
                f"the network's prediction must keep its shape: first {self.shapes} a sample, now {shapes}; a network "
                "whose output depends on how often it was called cannot be compared with itself."
            )


def tensors_of(prediction: Any) -> list[Tensor]:
    """The tensors of a prediction, wherever its dictionaries and lists hold them."""
    if isinstance(prediction, Tensor):
        return [plain_of(prediction)]
    if not isinstance(prediction, (Mapping, list, tuple)):
        return []
    parts = prediction.values() if isinstance(prediction, Mapping) else prediction
    return [tensor for part in parts for tensor in tensors_of(part)]


def plain_of(tensor: Tensor) -> Tensor:
    """The tensor without metadata."""
    return tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor


@torch.no_grad()
def _not_finite(tensor: Tensor) -> Tensor | None:
    """Where a tensor is NaN or infinite; None where it is finite throughout, which one reduction tells."""
    if not tensor.is_floating_point() or not tensor.numel():
        return None
    low, high = torch.aminmax(tensor.detach())
    return None if math.isfinite(low) and math.isfinite(high) else ~tensor.detach().isfinite()
