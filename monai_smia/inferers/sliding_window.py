"""Sliding-window inference whose gradient is exact and needs flat memory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from monai.data import MetaTensor
from monai.data.utils import compute_importance_map
from monai.inferers import SlidingWindowInferer
from monai.utils import convert_to_dst_type, fall_back_tuple
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

Window = tuple[slice, ...]  # (batch, channel, *spatial), as MONAI numbers them


class CheckpointedSlidingWindowInferer(SlidingWindowInferer):
    """MONAI's SlidingWindowInferer with an exact gradient at flat memory.

    Plain autograd through the stitching keeps the graph of every window and copies the volume once per window. Here the
    forward pass keeps none; the backward pass runs each window again and pulls the loss's gradient back through it,
    weighted as the stitching weighted the window. Peak memory is a few volumes and one batch of windows, whatever their
    number. Arguments and values are those of `monai.inferers.SlidingWindowInferer`.

    The gradient goes to the input. Where parameters, further tensor arguments or a `condition` need gradients too, or
    where the network changes the resolution, each window is checkpointed instead: just as exact, with MONAI's stitching
    and its memory. Gradients of gradients are not supported.

    Args:
        *args, **kwargs: as for `monai.inferers.SlidingWindowInferer`.

    Raises:
        ValueError: on a gradient through a network in train mode with dropout or batch statistics, whose second
            pass would not repeat the first.
        RuntimeError: if the second pass does not repeat the first for another reason.

    Example:
        >>> inferer = CheckpointedSlidingWindowInferer(roi_size=(8, 8), overlap=0.5, mode="gaussian")
        >>> image = torch.rand(1, 1, 20, 20, requires_grad=True)
        >>> inferer(image, nn.Conv2d(1, 2, 3, padding=1).requires_grad_(False)).sum().backward()
        >>> image.grad.shape
        torch.Size([1, 1, 20, 20])
    """

    @classmethod
    def of(cls, inferer: SlidingWindowInferer) -> CheckpointedSlidingWindowInferer:
        """One with the settings of a SlidingWindowInferer."""
        ours = cls.__new__(cls)
        ours.__dict__.update(vars(inferer))
        return ours

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As MONAI's.

        Args:
            inputs: image ``(B, C, *spatial)``.
            network: maps windows to a tensor, a tuple or a dictionary of tensors.
            *args, **kwargs: passed on to the network.
        """
        modules = list(_modules_of(network))
        others = any(p.requires_grad for m in modules for p in m.parameters()) or any(
            isinstance(value, Tensor) and value.requires_grad for value in (*args, *kwargs.values())
        )
        if not torch.is_grad_enabled() or not (inputs.requires_grad or others):
            return super().__call__(inputs, network, *args, **kwargs)
        _refuse_unrepeatable(modules)
        if inputs.requires_grad and not others and kwargs.get("condition") is None:
            plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
            padding = self._padding(plain)
            padded = F.pad(plain, padding, mode=str(self.padding_mode), value=self.cval) if any(padding) else plain
            windows = _Windows(self, network, args, kwargs)
            outputs = windows.stitched(padded.detach())
            if outputs is not None:
                outputs = _WindowGradient.apply(padded, windows, *outputs)
                return windows.pack([_crop(o, padding, plain.shape) for o in outputs], inputs)
        return super().__call__(inputs, _Checkpointed(network), *args, **kwargs)

    def _padding(self, inputs: Tensor) -> list[int]:
        """What MONAI pads where the window is larger than the image, last axis first."""
        shape = inputs.shape[2:]
        missing = [max(r - s, 0) for r, s in zip(fall_back_tuple(self.roi_size, shape), shape, strict=True)]
        return [amount for m in reversed(missing) for amount in (m // 2, m - m // 2)]


class _Windows:
    """The windows of one call: forward through MONAI, then their vector-Jacobian products."""

    def __init__(
        self, inferer: SlidingWindowInferer, network: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.inferer, self.network, self.args = inferer, network, args
        self.options = {k: v for k, v in kwargs.items() if k in ("device", "buffer_steps", "buffer_dim")}
        self.kwargs = {k: v for k, v in kwargs.items() if k not in self.options}
        self.batches: list[list[Window]] = []
        self.first: list[Tensor] = []  # outputs of the first batch of windows, to check the second pass against
        self.keys: list[Any] | None = None
        self.supported = True
        self.autocast = _autocast_state()

    @torch.no_grad()
    def stitched(self, image: Tensor) -> tuple[Tensor, ...] | None:
        """MONAI's forward pass; None where the second pass could not serve it."""
        recording = _with_coordinates(self.inferer)
        output = SlidingWindowInferer.__call__(
            recording, image, self._record, *self.args, **self.options, **self.kwargs
        )
        return tuple(_flatten(output)) if self.supported else None

    def _record(self, window: Tensor, coordinates: list[Any], *args: Any, **kwargs: Any) -> Any:
        self.batches.append([tuple(c) for c in coordinates])  # copies: MONAI's buffered mode changes its lists
        first = len(self.batches) == 1
        with torch.set_grad_enabled(first):  # once, to see whether the network hides parameters that need gradients
            output = self._apply(window, coordinates, *args, **kwargs)
        if first:
            parts = _flatten(output)
            self.keys = sorted(output) if isinstance(output, dict) else None
            self.supported = all(p.shape[2:] == window.shape[2:] and not p.requires_grad for p in parts)
            self.first = [part.detach().clone() for part in parts]
        return output

    def _apply(self, window: Tensor, coordinates: Any, *args: Any, **kwargs: Any) -> Any:
        with_coordinates = (coordinates,) if self.inferer.with_coord else ()
        return _unaliased(self.network(window, *with_coordinates, *args, **kwargs), window)

    @torch.no_grad()
    def pull_back(self, image: Tensor, cotangents: Sequence[Tensor | None]) -> Tensor:
        """The gradient of the image, given that of every stitched output."""
        device = torch.device(self.inferer.sw_device or image.device)
        importance = self._importance(image, device)
        count = torch.zeros(1, 1, *image.shape[2:], dtype=image.dtype, device=image.device)
        for place in (w for batch in self.batches for w in batch if w[0].start == 0):
            count[place] += importance.to(count.device)
        scaled = [None if c is None else c / count.to(c.device) for c in cotangents]
        gradient = torch.zeros_like(image)
        for number, batch in enumerate(self.batches):
            vectors = [None if s is None else torch.cat([s[w] for w in batch]).to(device) * importance for s in scaled]
            if not any(v is not None and bool(v.any()) for v in vectors):
                continue  # a loss that ignores these windows
            window = torch.cat([image[w] for w in batch]).to(device)
            pulled = self._pull_back_one(window, batch, vectors, check=number == 0).to(gradient.device)
            for w, part in zip(batch, pulled, strict=True):
                gradient[w] += part
        return gradient

    def _pull_back_one(
        self, window: Tensor, batch: list[Window], vectors: Sequence[Tensor | None], *, check: bool
    ) -> Tensor:
        window.requires_grad_(True)
        with torch.enable_grad(), self.autocast(window.device):
            parts = _flatten(self._apply(window, [list(w) for w in batch], *self.args, **self.kwargs))
        if check:
            self._check_repeats(parts)
        used = [(p, v.to(p)) for p, v in zip(parts, vectors, strict=True) if v is not None and p.requires_grad]
        if not used:
            return torch.zeros_like(window)
        (pulled,) = torch.autograd.grad([p for p, _ in used], window, [v for _, v in used], allow_unused=True)
        return torch.zeros_like(window) if pulled is None else pulled

    def _check_repeats(self, parts: Sequence[Tensor]) -> None:
        for part, before in zip(parts, self.first, strict=True):
            if not torch.allclose(part.detach(), before, rtol=1e-2, atol=1e-3 * float(before.abs().amax())):
                raise RuntimeError(
                    "the network does not repeat its own output (randomness outside of nn.Dropout, or state that "
                    "changes with every call): its sliding-window gradient would be wrong; make it deterministic."
                )

    def _importance(self, image: Tensor, device: torch.device) -> Tensor:
        """The blending weight of a window's voxels ``(1, 1, *roi)``."""
        weight = self.inferer.roi_weight_map
        if weight is None:
            weight = compute_importance_map(
                fall_back_tuple(self.inferer.roi_size, image.shape[2:]),
                mode=self.inferer.mode,
                sigma_scale=self.inferer.sigma_scale,
                device=device,
                dtype=image.dtype,
            )
        return weight.to(device, image.dtype)[None, None]

    def pack(self, outputs: Sequence[Tensor], inputs: Tensor) -> Any:
        """The stitched outputs in the network's own structure, typed as MONAI types them."""
        packed: Any = tuple(outputs) if len(outputs) > 1 else outputs[0]
        if self.keys is not None:
            packed = dict(zip(self.keys, outputs, strict=True))
        if isinstance(inputs, MetaTensor):
            meta = MetaTensor([]).copy_meta_from(inputs, copy_attr=False)
            packed = convert_to_dst_type(packed, meta, device=outputs[0].device)[0]
        return packed


class _WindowGradient(torch.autograd.Function):
    """Hands the stitched outputs on, and pulls their gradients back window by window."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, windows: _Windows, *outputs: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(image)
        ctx.windows = windows
        return tuple(output.view_as(output) for output in outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        (image,) = ctx.saved_tensors
        return (ctx.windows.pull_back(image, cotangents), None, *(None for _ in cotangents))


class _Checkpointed:
    """A network whose activations are computed again in the backward pass."""

    def __init__(self, network: Callable[..., Any]) -> None:
        self.network = network

    def __call__(self, window: Tensor, *args: Any, **kwargs: Any) -> Any:
        return _unaliased(checkpoint(self.network, window, *args, use_reentrant=False, **kwargs), window)


def _with_coordinates(inferer: SlidingWindowInferer) -> SlidingWindowInferer:
    recording = object.__new__(SlidingWindowInferer)
    recording.__dict__.update(vars(inferer), with_coord=True)
    return recording


def _flatten(output: Any) -> list[Tensor]:
    """The tensors of an output, dictionaries by sorted key as MONAI stitches them."""
    if isinstance(output, Tensor):
        return [output]
    return [output[key] for key in sorted(output)] if isinstance(output, dict) else list(output)


def _unaliased(output: Any, window: Tensor) -> Any:
    """The output, copied where it is the window itself: MONAI weighs outputs in place, which would change the image."""
    if isinstance(output, Tensor):
        return output.clone() if output.data_ptr() == window.data_ptr() else output
    if isinstance(output, dict):
        return {key: _unaliased(value, window) for key, value in output.items()}
    return tuple(_unaliased(value, window) for value in output)


def _crop(output: Tensor, padding: list[int], shape: torch.Size) -> Tensor:
    for axis, start in enumerate(reversed(padding[::2])):
        output = output.narrow(2 + axis, start, shape[2 + axis])
    return output


def _autocast_state() -> Callable[[torch.device], AbstractContextManager[Any]]:
    """The autocast setting of the forward pass, to be entered again in the backward pass."""
    states = {kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")}

    def enter(device: torch.device) -> AbstractContextManager[Any]:
        enabled, dtype = states.get(device.type, (False, None))
        return torch.autocast(device.type, dtype=dtype, enabled=enabled)

    return enter


def _modules_of(network: Callable[..., Any]) -> Iterator[nn.Module]:
    """The modules that a predictor runs, as far as it shows them: itself, its owner, what a function closes over."""
    if isinstance(network, nn.Module):
        yield network
        return
    candidates = [getattr(network, "__self__", None), *(getattr(network, "args", ()))]
    if inspect.isfunction(network):
        candidates += inspect.getclosurevars(network).nonlocals.values()
    yield from (c for c in candidates if isinstance(c, nn.Module))


def _refuse_unrepeatable(modules: Sequence[nn.Module]) -> None:
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
