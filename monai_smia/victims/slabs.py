"""Sums over voxels, taken slab by slab: with many classes the prediction is the memory.

A prediction of 104 classes at 256^3 takes 7 GB, and a loss and its gradient would take that several times over: as
log-probabilities, as the gradient of these, as the gradient of the prediction. Here none of them exists as a whole.
What is summed is summed slab by slab, and the gradient of a part of the prediction is made when it is asked for: by the
windows that the prediction was stitched of, one batch of them after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from monai_smia.inferers.freed_memory import FreedMemory
from monai_smia.inferers.half import HALF as HALVES
from monai_smia.inferers.sliding_window import windows_of
from monai_smia.inferers.windows import Window, Windows
from monai_smia.victims.outputs import Output

HALF = tuple(HALVES.values())  # types that a prediction may be held in, and nothing is summed in
Loss = TypeVar("Loss", bound=Callable[..., Tensor])
LARGE = 2**28  # bytes of a prediction from which on it is taken slab by slab
SLAB = 2**23  # bytes of a slab


def voxel_sums(
    function: Callable[..., Tensor], output: Output, prediction: Tensor, target: Tensor, *per_sample: Tensor
) -> Tensor:
    """What a function sums over voxels; of a large prediction slab by slab.

    Value and gradient are the function's own, but for the order in which is summed.

    Args:
        function: ``(output, prediction, target, *per_sample) -> (B, ...)``, sums over voxels: those of two parts of a
            volume add up to those of both.
        output: the output layer.
        prediction: logits ``(B, K, *spatial)``, or ``(B, K)``.
        target: the label as the layer takes it.
        *per_sample: further arguments ``(B, ...)``.

    Example:
        >>> from monai_smia.victims.outputs import Softmax
        >>> logits, label = torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3)
        >>> round(float(voxel_sums(Softmax.cross_entropy, Softmax(), logits, label)), 4)  # nine times log 2
        6.2383
    """
    half = prediction.dtype in HALF
    if not half and (prediction.ndim < 3 or prediction.numel() * prediction.element_size() < LARGE):
        return function(output, prediction, target, *per_sample)

    def sums(part: Tensor, place: Window) -> Tensor:
        part = part.float() if half else part
        where = place if target.ndim == prediction.ndim else (place[0], *place[2:])
        return function(output, part, target[where], *(value[place[0]] for value in per_sample))

    image, windows = windows_of(prediction) or (prediction, None)
    return _Sums.apply(image, prediction.detach(), sums, windows)


def in_full(prediction: Any) -> Any:
    """A prediction that is held in half precision in float32, for what is no sum over voxels; any other as it is.

    The gradient goes back in float32, too, where it was stitched of windows.

    Example:
        >>> in_full(torch.ones(1, 2, dtype=torch.float16)).dtype, in_full({"boxes": 1})
        (torch.float32, {'boxes': 1})
    """
    if not isinstance(prediction, Tensor) or prediction.dtype not in HALF:
        return prediction
    image, windows = windows_of(prediction) or (None, None)
    return prediction.float() if image is None else _Full.apply(image, prediction.detach(), windows)


class _Full(torch.autograd.Function):
    """A prediction in float32, differentiated by the image that it was stitched for."""

    @staticmethod
    def forward(ctx: Any, leaf: Tensor, prediction: Tensor, windows: Windows) -> Tensor:
        """In float32."""
        ctx.save_for_backward(leaf)
        ctx.windows = windows
        return prediction.float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Window by window."""
        return ctx.windows.vjp(*ctx.saved_tensors, [gradient]), None, None


def by_slabs(loss: Callable[[Output, Tensor, Tensor], Tensor]) -> Callable[[Output, Tensor, Tensor], Tensor]:
    """A loss that is itself a sum over voxels, by `voxel_sums`."""

    @wraps(loss)
    def summed(output: Output, prediction: Tensor, target: Tensor) -> Tensor:
        return voxel_sums(loss, output, prediction, target)

    return in_slabs(summed)


def in_slabs(loss: Loss) -> Loss:
    """A loss that takes a prediction in half precision as it is, because it sums by `voxel_sums` alone."""
    loss.in_slabs = True  # type: ignore[attr-defined]  # a note on a function, which getattr reads
    return loss


class _Sums(torch.autograd.Function):
    """Sums over a prediction, differentiated by it, or by the image that it was stitched for."""

    @staticmethod
    def forward(ctx: Any, leaf: Tensor, prediction: Tensor, sums: Any, windows: Windows | None) -> Tensor:
        """Summed slab by slab, in float64."""
        ctx.save_for_backward(leaf, prediction)
        ctx.sums, ctx.windows = sums, windows
        freed = FreedMemory()
        samples: list[list[Tensor]] = [[] for _ in prediction]
        for parts, place in zip(samples, _samples(prediction), strict=True):
            for slab in _slabs(prediction, place):
                parts.append(sums(prediction[slab], slab))  # small, and lies between the slabs that come and go
                if prediction.device.type == "cpu":
                    freed.add(prediction[slab].nbytes)
        return torch.cat([torch.stack(parts).double().sum(0).to(parts[0]) for parts in samples])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Window by window, or sample by sample where there are none."""
        leaf, prediction = ctx.saved_tensors
        parts = _Gradient(prediction, ctx.sums, gradient)
        if ctx.windows is not None:
            return ctx.windows.vjp(leaf, [parts]), None, None, None
        return torch.cat([parts[place] for place in _samples(prediction)]), None, None, None


class _Gradient:
    """The gradient of a prediction, made place by place as it is asked for.

    Args:
        prediction: the prediction ``(B, K, *spatial)``.
        sums: of a part of it and its place, the sums over its voxels.
        gradient: that of the sums of the whole prediction ``(B, ...)``.
    """

    def __init__(self, prediction: Tensor, sums: Callable[[Tensor, Window], Tensor], gradient: Tensor) -> None:
        self.prediction, self.sums, self.gradient = prediction, sums, gradient

    def __getitem__(self, place: Window) -> Tensor:
        """The gradient of a place, of that part's shape."""
        held = self.prediction[place]
        whole = torch.empty_like(held, dtype=torch.float32 if held.dtype in HALF else None)
        for slab in _slabs(self.prediction, place):
            part = self.prediction[slab].detach().to(whole.dtype).requires_grad_(True)
            with torch.enable_grad():
                found = self.sums(part, slab)
            rows = slice(slab[2].start - place[2].start, slab[2].stop - place[2].start)
            whole[:, :, rows] = torch.autograd.grad(found, part, self.gradient[slab[0]])[0]
        return whole


def _samples(prediction: Tensor) -> list[Window]:
    """Every sample as a place."""
    spatial = [slice(0, size) for size in prediction.shape[2:]]
    return [(slice(sample, sample + 1), slice(None), *spatial) for sample in range(len(prediction))]


def _slabs(prediction: Tensor, place: Window) -> Iterator[Window]:
    """A place, cut along its first spatial axis into parts of at most `SLAB` bytes, but of one row at least."""
    row = prediction[place][:, :, :1]
    rows = max(SLAB // (row.numel() * row.element_size()), 1)
    for start in range(place[2].start, place[2].stop, rows):
        yield (*place[:2], slice(start, min(start + rows, place[2].stop)), *place[3:])
