"""Sliding-window inference whose gradient is exact and needs flat memory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.utils import deprecated_arg, fall_back_tuple
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from monai_smia import __version__
from monai_smia.inferers.half import HalfWindows
from monai_smia.inferers.kept_graphs import MemoryLimit
from monai_smia.inferers.windows import SlidingWindows, Windows, on_window


class CheckpointedSlidingWindowInferer(SlidingWindowInferer):
    """MONAI's SlidingWindowInferer with an exact gradient at flat memory.

    Plain autograd through the stitching keeps the graph of every window and copies the volume once per window. Here the
    forward pass keeps none; the backward pass runs each window again and pulls the loss's gradient back through it,
    weighted as the stitching weighted the window. Peak memory is a few volumes and one batch of windows, whatever their
    number. Arguments and values are those of `monai.inferers.SlidingWindowInferer`.

    With a `memory_limit` the graphs of as many windows as fit into it are kept, and only the others run again: 0 needs
    least memory, infinity least time. All calls of one inferer share it, as long as their graphs live.

    The gradient goes to the input. Where parameters, further tensor arguments or a `condition` need gradients too, or
    where the network changes the resolution, each window is checkpointed instead: just as exact, with MONAI's stitching
    and its memory. Gradients of gradients are not supported.

    Windows that a loss ignores are not run again, nor are those beside the voxels whose gradient is needed, where the
    input says so (`restrict_gradient`).

    Args:
        *args: as for `monai.inferers.SlidingWindowInferer`.
        memory_limit: bytes that kept graphs may hold, on top of the flat memory; 0 keeps none.
        logits: ``torch.float16`` or ``torch.bfloat16`` holds the stitched prediction in that type (`HalfWindows`), half
            the memory where there are many classes; the gradient stays that of the windows in full. None, and images
            smaller than a window: in the image's own.
        **kwargs: as for `monai.inferers.SlidingWindowInferer`.

    Raises:
        ValueError: if the limit is negative; on a gradient through a network in train mode with dropout or batch
            statistics, whose second pass would not repeat the first.
        RuntimeError: if the second pass does not repeat the first for another reason.

    Example:
        >>> inferer = CheckpointedSlidingWindowInferer(roi_size=(8, 8), overlap=0.5, mode="gaussian")
        >>> image = torch.rand(1, 1, 20, 20, requires_grad=True)
        >>> inferer(image, nn.Conv2d(1, 2, 3, padding=1).requires_grad_(False)).sum().backward()
        >>> image.grad.shape
        torch.Size([1, 1, 20, 20])
    """

    logits: torch.dtype | None = None

    @deprecated_arg("memory_budget", since="0.2.0", removed="0.3.0", new_name="memory_limit", version_val=__version__)
    def __init__(self, *args: Any, memory_limit: float = 0, logits: torch.dtype | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.memory, self.logits = MemoryLimit(memory_limit), logits

    @classmethod
    def of(cls, inferer: SlidingWindowInferer, *, memory_limit: float = 0) -> CheckpointedSlidingWindowInferer:
        """One with the settings of a SlidingWindowInferer."""
        ours = cls.__new__(cls)
        ours.__dict__.update(vars(inferer), memory=MemoryLimit(memory_limit))
        return ours

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As MONAI's.

        Args:
            inputs: image ``(B, C, *spatial)``.
            network: maps windows to a tensor, a tuple or a dictionary of tensors.
            *args, **kwargs: passed on to the network.
        """
        modules = list(modules_of(network))
        others = any(p.requires_grad for m in modules for p in m.parameters()) or any(
            isinstance(value, Tensor) and value.requires_grad for value in (*args, *kwargs.values())
        )
        if (
            self.logits is not None
            and not others
            and kwargs.get("condition") is None
            and not any(self._padding(inputs))
        ):
            return self._in_half(self.logits, inputs, network, modules, args, kwargs)
        if not torch.is_grad_enabled() or not (inputs.requires_grad or others):
            return super().__call__(inputs, partial(on_window, network), *args, **kwargs)
        refuse_unrepeatable(modules)
        if inputs.requires_grad and not others and kwargs.get("condition") is None:
            plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
            padding = self._padding(plain)
            padded = F.pad(plain, padding, mode=str(self.padding_mode), value=self.cval) if any(padding) else plain
            region = getattr(inputs, "gradient_region", None)
            region = F.pad(region, padding) if region is not None and any(padding) else region
            windows = SlidingWindows(self, self.memory, network, args, kwargs, [*tensors_of(modules), padded], region)
            outputs = windows.stitched(padded.detach())
            if outputs is not None:
                outputs = WindowGradient.apply(padded, windows, *outputs)
                return windows.pack([_crop(o, padding, plain.shape) for o in outputs], inputs)
        return super().__call__(inputs, _Checkpointed(network), *args, **kwargs)

    def _in_half(
        self, dtype: torch.dtype, inputs: Tensor, network: Any, modules: list[nn.Module], args: Any, kwargs: Any
    ) -> Tensor:
        """The prediction in half precision, with the exact gradient of its windows."""
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        wanted = torch.is_grad_enabled() and plain.requires_grad
        if wanted:
            refuse_unrepeatable(modules)
        region, known = getattr(inputs, "gradient_region", None), [*tensors_of(modules), plain]
        memory = self.memory if wanted else MemoryLimit(0)
        windows = HalfWindows(dtype, self, memory, network, args, kwargs, known, region)
        (stitched,) = windows.stitched(plain.detach())
        return WindowGradient.apply(plain, windows, stitched)[0] if wanted else stitched

    def _padding(self, inputs: Tensor) -> list[int]:
        """What MONAI pads where the window is larger than the image, last axis first."""
        shape = inputs.shape[2:]
        missing = [max(r - s, 0) for r, s in zip(fall_back_tuple(self.roi_size, shape), shape, strict=True)]
        return [amount for m in reversed(missing) for amount in (m // 2, m - m // 2)]


def restrict_gradient(image: Tensor, region: Tensor) -> Tensor:
    """Mark the image for this inferer: its gradient is needed in a region alone, and may be left zero beside it.

    What is computed from the image (smoothed, resampled) does not carry the note: there the region may be larger.

    Args:
        image: ``(B, C, *spatial)``.
        region: bool, of the same shape.

    Example:
        >>> image = torch.rand(1, 1, 20, 20, requires_grad=True)
        >>> region = torch.zeros(1, 1, 20, 20, dtype=torch.bool)
        >>> region[..., :4, :4] = True
        >>> inferer = CheckpointedSlidingWindowInferer(roi_size=(8, 8), overlap=0)
        >>> network = nn.Conv2d(1, 2, 1).requires_grad_(False)
        >>> inferer(restrict_gradient(image, region), network).sum().backward()
        >>> bool(image.grad[..., :4, :4].all()), bool(image.grad[..., 8:, :].any())
        (True, False)
    """
    image.gradient_region = region  # type: ignore[attr-defined]  # a note on a tensor, which getattr reads
    return image


def windows_of(prediction: Tensor) -> tuple[Tensor, Windows] | None:
    """The image that a prediction was stitched for, with its graph, and the windows that it was stitched of.

    None where it is no such prediction as it is, but one of several, padded, or changed since. `Windows.vjp` then
    gives the gradient of the image from that of the prediction, which may be made window by window.

    Example:
        >>> image = torch.rand(1, 1, 20, 20, requires_grad=True)
        >>> prediction = CheckpointedSlidingWindowInferer(8, overlap=0.5)(image, nn.Identity())
        >>> windows_of(prediction)[0] is image, windows_of(2 * prediction)
        (True, None)
    """
    windows = getattr(prediction.grad_fn, "windows", None)
    if not isinstance(windows, Windows) or windows.outputs != 1:
        return None
    return prediction.grad_fn.saved_tensors[0], windows  # type: ignore[union-attr]  # the context of WindowGradient


class WindowGradient(torch.autograd.Function):
    """Hands the stitched outputs on, and pulls their gradients back window by window."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, windows: Windows, *outputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs, as they are."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(image)
        ctx.windows = windows
        return tuple(output.view_as(output) for output in outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """The image's gradient, by `Windows.vjp`."""
        (image,) = ctx.saved_tensors
        return (ctx.windows.vjp(image, cotangents), None, *(None for _ in cotangents))


class _Checkpointed:
    """A network whose activations are computed again in the backward pass."""

    def __init__(self, network: Callable[..., Any]) -> None:
        self.network = network

    def __call__(self, window: Tensor, *args: Any, **kwargs: Any) -> Any:
        return checkpoint(on_window, self.network, window, *args, use_reentrant=False, **kwargs)


def _crop(output: Tensor, padding: list[int], shape: torch.Size) -> Tensor:
    for axis, start in enumerate(reversed(padding[::2])):
        if output.shape[2 + axis] == shape[2 + axis]:
            continue  # as it is, so that `windows_of` knows it
        output = output.narrow(2 + axis, start, shape[2 + axis])
    return output


def modules_of(network: Callable[..., Any]) -> Iterator[nn.Module]:
    """The modules that a predictor runs, as far as it shows them: itself, its owner, what a function closes over."""
    if isinstance(network, nn.Module):
        yield network
        return
    candidates = [getattr(network, "__self__", None), *(getattr(network, "args", ()))]
    if inspect.isfunction(network):
        candidates += inspect.getclosurevars(network).nonlocals.values()
    yield from (c for c in candidates if isinstance(c, nn.Module))


def tensors_of(modules: Sequence[nn.Module]) -> Iterator[Tensor]:
    """Parameters and buffers."""
    for module in modules:
        yield from module.parameters()
        yield from module.buffers()


def refuse_unrepeatable(modules: Sequence[nn.Module]) -> None:
    """Raise a ValueError where a module in train mode would not repeat its output."""
    for module in (m for network in modules for m in network.modules() if m.training):
        random = isinstance(module, (nn.modules.dropout._DropoutNd, nn.RReLU)) and getattr(module, "p", 1) > 0
        statistics = isinstance(module, nn.modules.batchnorm._NormBase) and (
            module.track_running_stats or isinstance(module, nn.modules.batchnorm._BatchNorm)
        )
        if random or statistics:
            raise ValueError(
                f"network must be in eval mode for a sliding-window gradient: its {type(module).__name__} is in train "
                "mode, and running the windows twice would not repeat it; call network.eval()."
            )
