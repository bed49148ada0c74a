"""The windows around points of MONAI's VISTA3D, whose gradient is exact and needs flat memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.apps.vista3d.inferer import point_based_window_inferer
from torch import Tensor
from torch.nn import functional as F

from monai_smia.inferers.kept_graphs import MemoryLimit
from monai_smia.inferers.sliding_window import WindowGradient, modules_of, refuse_unrepeatable, tensors_of
from monai_smia.inferers.windows import Windows, on_window

OUTSIDE = -20.0  # logit of what no window covers: background, and no part of a loss to speak of


def point_windows(
    inputs: Tensor, roi_size: Sequence[int], predictor: Callable[..., Tensor], *args: Any, **kwargs: Any
) -> Tensor:
    """MONAI's `point_based_window_inferer` with the exact gradient of the image, at the memory of one window.

    MONAI's own copies its input, so that no gradient arrives there. Its windows are these, laid by MONAI itself, and
    its values are these wherever they are defined: where windows overlap their outputs are summed, as MONAI does. What
    no window covers is `OUTSIDE`, where MONAI divides 0 by 0, or the previous mask where there is one. Values keep the
    type and the device of the image; MONAI's are float32 on the CPU.

    Args:
        inputs: image ``(1, C, H, W, D)``.
        roi_size: of the windows.
        predictor: as MONAI's: given a window, its ``patch_coords`` and the prompt, logits ``(1, K, *window)``.
        *args, **kwargs: as MONAI's: ``point_coords`` ``(1, N, 3)`` in voxels, ``point_labels`` ``(1, N)`` and so on.

    Returns:
        Logits ``(1, K, H, W, D)``.

    Raises:
        ValueError: as MONAI's; also for more than one image, and where a gradient is asked for through a network in
            train mode, one that changes the size of a window, or one of whose parameters needs a gradient, too.

    Example:
        >>> def network(window, **prompt):
        ...     return window * 2
        >>> image = torch.rand(1, 1, 12, 12, 12, requires_grad=True)
        >>> logits = point_windows(image, (4, 4, 4), network, torch.tensor([[[6, 6, 6]]]), torch.tensor([[1]]))
        >>> logits.sum().backward()
        >>> float(image.grad.sum()), 2 * 4**3
        (128.0, 128)
    """
    if len(inputs) != 1:
        raise ValueError(f"inputs must be one image, for its points are of one, got a batch of {len(inputs)}.")
    image = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
    calls: list[Mapping[str, Any]] = []
    point_based_window_inferer(torch.zeros(image.shape), roi_size, _noting(calls), *args, **kwargs)
    padding = _padding(image.shape[2:], roi_size)
    padded, region = F.pad(image, padding), getattr(inputs, "gradient_region", None)
    region = None if region is None else F.pad(region, padding)
    modules = list(modules_of(predictor))
    windows = _PointWindows(calls, predictor, [*tensors_of(modules), padded], region)
    if torch.is_grad_enabled() and image.requires_grad:
        refuse_unrepeatable(modules)
        logits: Tensor = WindowGradient.apply(padded, windows, *windows.stitched(padded.detach()))[0]
    else:
        logits = windows.summed(padded)
    previous = calls[0]["prev_mask"]
    beside = logits.new_full((), OUTSIDE) if previous is None else previous.to(logits)
    return _cropped(torch.where(_covered(calls, padded), logits, beside), padding, image.shape[2:])


def monai_point_windows(
    inputs: Tensor, roi_size: Sequence[int], predictor: Callable[..., Tensor], *args: Any, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """What MONAI's own `point_based_window_inferer` says, and where it says anything ``(1, 1, H, W, D)``.

    Args:
        inputs, roi_size, predictor, *args, **kwargs: as for `point_windows`.
    """
    calls: list[Mapping[str, Any]] = []
    logits: Tensor = point_based_window_inferer(inputs, roi_size, _noting(calls, predictor), *args, **kwargs)
    padding = _padding(inputs.shape[2:], roi_size)
    covered = _cropped(_covered(calls, F.pad(inputs, padding)), padding, inputs.shape[2:]).to(logits.device)
    return logits, covered if calls[0]["prev_mask"] is None else torch.ones_like(covered)


class _PointWindows(Windows):
    """The windows around points, summed as they are."""

    def __init__(
        self,
        calls: Sequence[Mapping[str, Any]],
        network: Callable[..., Tensor],
        known: Sequence[Tensor],
        region: Tensor | None,
    ) -> None:
        super().__init__(MemoryLimit(), (), {}, known, region)
        self.calls, self.network = calls, network

    @torch.no_grad()
    def summed(self, image: Tensor) -> Tensor:
        """The output without any graph."""
        return self._sum(image, lambda number, place: self._apply(number, image[place], None))

    @torch.no_grad()
    def stitched(self, image: Tensor) -> tuple[Tensor, ...]:
        """The output, every window recorded."""
        total = self._sum(image, lambda number, place: self._record(image[place], [place]))
        if not self.supported:
            raise ValueError(
                "the network's parameters must need no gradient where the image's is made window by window: "
                "network.requires_grad_(False)."
            )
        return (total,)

    def _sum(self, image: Tensor, output_of: Callable[[int, Any], Tensor]) -> Tensor:
        total: Tensor | None = None
        for number, call in enumerate(self.calls):
            place = (slice(0, 1), *call["patch_coords"][0][1:])
            output = output_of(number, place)
            if total is None:
                total = output.new_zeros(1, output.shape[1], *image.shape[2:])
            total[place] += output
        assert total is not None  # MONAI refuses what has no window
        return total

    def _apply(self, number: int, window: Tensor, coordinates: Any, *args: Any, **kwargs: Any) -> Tensor:
        output: Tensor = on_window(self.network, window, **self.calls[number])
        if output.shape[2:] != window.shape[2:]:
            raise ValueError(
                f"the network must keep the size of a window, {tuple(window.shape[2:])}, got {tuple(output.shape[2:])}."
            )
        return output

    def _importance(self, image: Tensor, device: torch.device) -> Tensor:
        return torch.ones(1, 1, 1, 1, 1, dtype=image.dtype, device=device)

    def _count(self, image: Tensor, importance: Tensor) -> Tensor:
        return importance.expand(1, 1, *image.shape[2:])


def _noting(calls: list[Mapping[str, Any]], predictor: Callable[..., Tensor] | None = None) -> Any:
    """A predictor that notes what each window's is given beside the window; without one to ask it says 0."""

    def note(window: Tensor, **prompt: Any) -> Tensor:
        calls.append(prompt)
        return window.new_zeros(1, 1, *window.shape[2:]) if predictor is None else predictor(window, **prompt)

    return note


def _covered(calls: Sequence[Mapping[str, Any]], image: Tensor) -> Tensor:
    """Where windows lie in a padded image, ``(1, 1, *spatial)``."""
    found = torch.zeros(1, 1, *image.shape[2:], dtype=torch.bool, device=image.device)
    for call in calls:
        found[call["patch_coords"][0]] = True
    return found


def _padding(shape: Sequence[int], roi_size: Sequence[int]) -> list[int]:
    """What MONAI pads where a window is larger than the image, last axis first."""
    missing = [max(r - s, 0) for r, s in zip(roi_size, shape, strict=True)]
    return [amount for m in reversed(missing) for amount in (m // 2, m - m // 2)]


def _cropped(volume: Tensor, padding: Sequence[int], shape: Sequence[int]) -> Tensor:
    for axis, (start, size) in enumerate(zip(padding[-2::-2], shape, strict=True)):
        volume = volume.narrow(2 + axis, start, size)
    return volume
