"""Sliding-window inference with any windows, mirrored and averaged, whose gradient is exact and needs flat memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from monai_smia.inferers.kept_graphs import MemoryLimit
from monai_smia.inferers.sliding_window import WindowGradient, refuse_unrepeatable, tensors_of
from monai_smia.inferers.windows import Windows, on_window


@dataclass(frozen=True, eq=False)
class Tiling:
    """The windows of an image, all of one size, and how much every voxel of a window counts in the blend.

    Args:
        places: spatial slices of every window; together they cover the image.
        weight: ``(*window)``, positive.
        flat: windows are single planes of a volume, and the network takes them without their first spatial axis.

    Example:
        >>> Tiling([(slice(0, 4),), (slice(2, 6),)], torch.ones(4)).weight.shape
        torch.Size([4])
    """

    places: Sequence[tuple[slice, ...]]
    weight: Tensor
    flat: bool = False


class MeanNetwork(nn.Module):
    """Networks whose outputs are averaged, such as the folds of a cross-validation.

    Args:
        members: networks of one shape of output.

    Raises:
        ValueError: if there is none.

    Example:
        >>> MeanNetwork([nn.Identity(), nn.ReLU()])(torch.tensor([-2.0, 2.0])).tolist()
        [-1.0, 2.0]
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        if not len(self.members):
            raise ValueError("members must hold at least one network, got none.")

    def forward(self, image: Tensor) -> Tensor:
        """The mean of what all of them say."""
        return torch.stack([member(image) for member in self.members]).mean(0)


class TilingInferer(Inferer):
    """A network on given windows, blended by given weights, averaged over mirrorings and members.

    As `CheckpointedSlidingWindowInferer` its gradient is exact, and needs a few volumes and the graph of one window:
    every mirroring and every member of a `MeanNetwork` is a window of its own, whose output is a share of the blend.

    Args:
        tiling: gives the windows of an image of a spatial shape.
        mirrorings: spatial axes of the network's window that are flipped together, one entry a mirroring; ``()`` is the
            window as it is.
        memory_limit: bytes that kept graphs may hold, as for `CheckpointedSlidingWindowInferer`.

    Raises:
        ValueError: if there are no mirrorings; in use, if the windows do not cover the image, the network changes the
            size of a window or is in train mode, or one of its parameters needs a gradient.

    Example:
        >>> halves = Tiling([(slice(0, 6), slice(0, 8)), (slice(2, 8), slice(0, 8))], torch.ones(6, 8))
        >>> inferer = TilingInferer(lambda shape: halves, mirrorings=[(), (0,), (0, 1)])
        >>> image = torch.rand(1, 1, 8, 8, requires_grad=True)
        >>> inferer(image, nn.Conv2d(1, 2, 3, padding=1).requires_grad_(False)).sum().backward()
        >>> image.grad.shape
        torch.Size([1, 1, 8, 8])
    """

    def __init__(
        self,
        tiling: Callable[[Sequence[int]], Tiling],
        *,
        mirrorings: Sequence[Sequence[int]] = ((),),
        memory_limit: float = 0,
    ) -> None:
        super().__init__()
        if not mirrorings:
            raise ValueError(f"mirrorings must hold at least one, () for the window as it is, got {mirrorings!r}.")
        self.tiling, self.mirrorings = tiling, [tuple(axes) for axes in mirrorings]
        self.memory = MemoryLimit(memory_limit)

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """The blended output ``(B, K, *spatial)``.

        Args:
            inputs: image ``(B, C, *spatial)``.
            network: maps a window to a tensor of its spatial size; the members of a `MeanNetwork` are averaged.
            *args, **kwargs: passed on to the network.
        """
        members = list(network.members) if isinstance(network, MeanNetwork) else [network]
        modules = [member for member in members if isinstance(member, nn.Module)]
        image = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        region = getattr(inputs, "gradient_region", None)
        tensors = [*tensors_of(modules), image]
        tiles = _Tiles(
            self.tiling(image.shape[2:]), self.mirrorings, members, self.memory, args, kwargs, tensors, region
        )
        if not (torch.is_grad_enabled() and inputs.requires_grad):
            return tiles.blended(image)
        refuse_unrepeatable(modules)
        blended: Tensor = WindowGradient.apply(image, tiles, *tiles.stitched(image.detach()))[0]
        return blended


class _Tiles(Windows):
    """The windows of one call: every place in every mirroring by every member."""

    def __init__(
        self,
        tiling: Tiling,
        mirrorings: Sequence[tuple[int, ...]],
        members: Sequence[Callable[..., Any]],
        memory: MemoryLimit,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        known: Sequence[Tensor],
        region: Tensor | None,
    ) -> None:
        super().__init__(memory, args, kwargs, known, region)
        self.tiling, self.members = tiling, members
        self.views = [(member, axes) for member in range(len(members)) for axes in mirrorings]
        self.calls: list[tuple[int, tuple[int, ...]]] = []  # member and mirroring of every batch

    def blended(self, image: Tensor) -> Tensor:
        """The output without any graph."""
        return self._blend(image, lambda window, place: self._apply(len(self.calls) - 1, window, None))

    @torch.no_grad()
    def stitched(self, image: Tensor) -> tuple[Tensor, ...]:
        """The output, with graphs kept where the memory limit allows."""
        blended = self._blend(image, lambda window, place: self._record(window, [place]))
        if not self.supported:
            raise ValueError(
                "the network's parameters must need no gradient where the image's is made window by window: "
                "network.requires_grad_(False)."
            )
        return (blended,)

    @torch.no_grad()
    def _blend(self, image: Tensor, output_of: Callable[[Tensor, Any], Tensor]) -> Tensor:
        weight = self._importance(image, image.device)
        total: Tensor | None = None
        count = torch.zeros(1, 1, *image.shape[2:], dtype=image.dtype, device=image.device)
        for view, sample, spatial in product(self.views, range(len(image)), self.tiling.places):
            place = (slice(sample, sample + 1), slice(None), *spatial)
            self.calls.append(view)
            output = output_of(image[place], place)
            if total is None:
                shape = (len(image), output.shape[1], *image.shape[2:])
                total = output.new_zeros(shape, dtype=torch.promote_types(output.dtype, weight.dtype))
            total[place] += output * weight
            if sample == 0:
                count[place] += weight
        if total is None or not bool((count > 0).all()):
            raise ValueError(f"the windows must cover the image, {tuple(image.shape[2:])}, which they do not.")
        return total.div_(count)

    def _apply(self, number: int, window: Tensor, coordinates: Any, *args: Any, **kwargs: Any) -> Tensor:
        member, axes = self.calls[number]
        seen = window.squeeze(2) if self.tiling.flat else window
        flips = [axis + 2 for axis in axes]
        output = on_window(self.members[member], seen.flip(flips) if flips else seen, *self.args, **self.kwargs)
        if output.shape[2:] != seen.shape[2:]:
            raise ValueError(
                f"the network must keep the size of a window, {tuple(seen.shape[2:])}, got {tuple(output.shape[2:])}."
            )
        output = output.flip(flips) if flips else output
        return output.unsqueeze(2) if self.tiling.flat else output

    def _importance(self, image: Tensor, device: torch.device) -> Tensor:
        return self.tiling.weight.to(device, image.dtype)[None, None]
