"""Sliding windows whose stitched prediction is held in half precision: with many classes it is the memory."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor

from monai_smia.inferers.windows import SlidingWindows, flatten, gathered, with_coordinates

HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class HalfWindows(SlidingWindows):
    """The windows of a MONAI SlidingWindowInferer, stitched in half precision.

    Every window is computed as ever, and weighed in the image's type by its share of the blend; shares of one voxel add
    up to 1, so that a sum is no larger than what is summed. It is rounded as often as windows meet in a voxel. The
    gradient is that of the windows as they are: `vjp` takes cotangents of any type.

    Args:
        dtype: ``torch.float16`` or ``torch.bfloat16``.
        *args: as for `SlidingWindows`.
    """

    def __init__(self, dtype: torch.dtype, *args: Any) -> None:
        super().__init__(*args)
        self.dtype = dtype

    @torch.no_grad()
    def stitched(self, image: Tensor) -> tuple[Tensor, ...]:
        """The prediction ``(B, K, *spatial)``, its windows recorded for their gradient.

        Raises:
            ValueError: if the network returns several tensors or changes the size of a window, or a value is beyond
                what the type can hold.
        """
        self._walk(image, self._note)
        importance = self._importance(image, self._device(image))
        count = self._count(image, importance)
        self.batches = []
        where = torch.device(self.options.get("device") or self.inferer.device or image.device)
        total: Tensor | None = None

        def blend(window: Tensor, coordinates: list[Any], *args: Any, **kwargs: Any) -> Tensor:
            nonlocal total
            part = self._one_of(self._record(window, coordinates, *args, **kwargs), window)
            batch = self.batches[-1]
            shares = importance / gathered(count, [(slice(0, 1), *w[1:]) for w in batch]).to(importance.device)
            weighed = part * shares.to(part)
            self._check_range(part)
            if total is None:
                total = torch.zeros(len(image), part.shape[1], *image.shape[2:], dtype=self.dtype, device=where)
            for place, each in zip(batch, weighed, strict=True):
                total[place] += each.to(total)
            return window.new_zeros(len(window), 1, *window.shape[2:])

        self._walk(image, blend)
        assert total is not None
        return (total,)

    def _walk(self, image: Tensor, visit: Any) -> None:
        """Every batch of windows, as MONAI lays them, of which its own blend gets nothing to hold."""
        SlidingWindowInferer.__call__(
            with_coordinates(self.inferer), image, visit, *self.args, **self.options, **self.kwargs
        )

    def _note(self, window: Tensor, coordinates: list[Any], *_: Any, **__: Any) -> Tensor:
        self.batches.append([tuple(c) for c in coordinates])
        return window.new_zeros(len(window), 1, *window.shape[2:])

    def _one_of(self, output: Any, window: Tensor) -> Tensor:
        parts = flatten(output)
        if len(parts) != 1 or parts[0].shape[2:] != window.shape[2:]:
            shapes = ", ".join(str(tuple(part.shape)) for part in parts)
            raise ValueError(
                f"logits must be held in full where the network does not return one tensor of a window's size, "
                f"{tuple(window.shape[2:])}: it returns {shapes}."
            )
        if not self.supported:
            raise ValueError(
                "logits must be held in full where the network hides parameters that need a gradient: "
                "network.requires_grad_(False)."
            )
        return parts[0]

    def _check_range(self, part: Tensor) -> None:
        largest, most = float(part.abs().amax()), torch.finfo(self.dtype).max
        if most < largest < float("inf"):
            raise ValueError(
                f"logits must lie within {most:g} to be held in {str(self.dtype).removeprefix('torch.')}, got "
                f"{largest:g}; bfloat16 holds what float32 does."
            )
