"""The windows of one sliding-window call: stitched once, and their vector-Jacobian products."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from monai.data import MetaTensor
from monai.data.utils import compute_importance_map
from monai.inferers import SlidingWindowInferer
from monai.utils import convert_to_dst_type, fall_back_tuple
from torch import Tensor

from monai_smia.inferers.freed_memory import FreedMemory
from monai_smia.inferers.kept_graphs import KeptGraph, MeasuredGraph, MemoryLimit, leaves

Window = tuple[slice, ...]  # (batch, channel, *spatial), as MONAI numbers them


class Gathered(Protocol):
    """What gives a batch of windows their part of a volume: the volume itself, or what makes the part when asked."""

    def __getitem__(self, place: Window, /) -> Tensor:
        """The part ``(n, K, *roi)`` of a place."""


class Windows(ABC):
    """The windows of one call, whose outputs are blended by weights: forward, then their vector-Jacobian products.

    Which windows there are and how the network is applied to them says a subclass.

    Args:
        memory: what kept graphs count against.
        args, kwargs: of the network.
        known: tensors that a kept graph does not hold by itself: parameters, buffers, the image.
        region: where the image's gradient is needed; None for everywhere.
    """

    def __init__(
        self,
        memory: MemoryLimit,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        known: Sequence[Tensor],
        region: Tensor | None,
    ) -> None:
        self.memory, self.args, self.kwargs, self.known, self.region = memory, args, kwargs, known, region
        self.graph_size = float("inf")  # bytes of one batch of windows; known once one was kept
        self.kept: dict[int, KeptGraph] = {}
        self.batches: list[list[Window]] = []
        self.checked: tuple[int, list[Tensor]] | None = None  # a batch of windows to check the second pass against
        self.keys: list[Any] | None = None
        self.supported, self.outputs = True, 0  # how many tensors the network returns
        self.autocast = _autocast_state()

    @abstractmethod
    def stitched(self, image: Tensor) -> tuple[Tensor, ...] | None:
        """The forward pass, every batch of windows through `_record`; None where no second pass could serve it."""

    @abstractmethod
    def _apply(self, number: int, window: Tensor, coordinates: Any, *args: Any, **kwargs: Any) -> Any:
        """What the network says of a batch of windows, the `number`-th of the call."""

    @abstractmethod
    def _importance(self, image: Tensor, device: torch.device) -> Tensor:
        """The blending weight of a window's voxels ``(1, 1, *roi)``."""

    def _count(self, image: Tensor, importance: Tensor) -> Tensor:
        """What the blend is divided by at every voxel ``(1, 1, *spatial)``: the sum of its windows' weights."""
        count = torch.zeros(1, 1, *image.shape[2:], dtype=image.dtype, device=image.device)
        for place in (w for batch in self.batches for w in batch if w[0].start == 0):
            count[place] += importance.to(count.device)
        return count

    def _device(self, image: Tensor) -> torch.device:
        """Where windows are computed."""
        return image.device

    def _record(self, window: Tensor, coordinates: list[Any], *args: Any, **kwargs: Any) -> Any:
        number = len(self.batches)
        self.batches.append([tuple(c) for c in coordinates])  # copies: MONAI's buffered mode changes its lists
        first, memory = number == 0, self.memory
        needed = self._is_needed(self.batches[number])
        keep = memory.limit > 0 if first else memory.fits(self.graph_size) and needed
        leaf = window.detach().requires_grad_(True) if keep else window
        with (
            torch.set_grad_enabled(first or keep),
            MeasuredGraph(self.known) if first and keep else nullcontext() as graph,
        ):
            output = self._apply(number, leaf, coordinates, *args, **kwargs)
        parts = flatten(output)
        if first:
            self.outputs = len(parts)
            self.keys = sorted(output) if isinstance(output, dict) else None
            same = all(p.shape[2:] == window.shape[2:] for p in parts)
            self.supported = same and all(variable is leaf for variable in leaves(parts))  # no hidden parameters
            if graph is not None:
                self.graph_size = graph.size + sum(part.numel() * part.element_size() for part in parts)
            keep = keep and self.supported and memory.fits(self.graph_size) and needed
        if keep and any(p.requires_grad for p in parts):
            self.kept[number] = KeptGraph(memory, self.graph_size, leaf, parts)
            return _mapped(lambda part: part.detach().clone(), output)  # MONAI weighs it in place
        if self.checked is None:
            self.checked = number, [part.detach().clone() for part in parts]
        return _mapped(Tensor.detach, output)

    def _is_needed(self, batch: Sequence[Window]) -> bool:
        """Whether any voxel of these windows has its gradient needed."""
        return self.region is None or any(bool(self.region[place].any()) for place in batch)

    @torch.no_grad()
    def vjp(self, image: Tensor, cotangents: Sequence[Gathered | None]) -> Tensor:
        """The gradient of the image, given that of every stitched output."""
        device = self._device(image)
        importance = self._importance(image, device)
        count = self._count(image, importance)
        gradient, freed = torch.zeros_like(image), FreedMemory()
        for number, batch in enumerate(self.batches):
            if not self._is_needed(batch):
                continue
            vectors = [None if c is None else gathered(c, batch).to(device) for c in cotangents]
            if not any(v is not None and _holds_anything(v) for v in vectors):
                self.kept.pop(number, None)
                continue  # a loss that ignores these windows
            shares = importance / gathered(count, [(slice(0, 1), *w[1:]) for w in batch]).to(device)
            vectors = [None if v is None else v * shares for v in vectors]
            kept = self.kept.pop(number, None) or self._again(number, gathered(image, batch).to(device))
            pulled = _vector_jacobian(kept, vectors).to(gradient.device)
            for w, part in zip(batch, pulled, strict=True):
                gradient[w] += part
            size = sum(tensor.nbytes for tensor in (kept.window, *kept.parts))
            del kept, vectors, pulled  # before the next ones are made
            if device.type == "cpu":
                freed.add(size)
        return gradient

    def _again(self, number: int, window: Tensor) -> KeptGraph:
        """The graph of a batch of windows that was not kept."""
        window = window.detach().requires_grad_(True)
        with torch.enable_grad(), self.autocast(window.device):
            coordinates = [list(place) for place in self.batches[number]]
            parts = flatten(self._apply(number, window, coordinates, *self.args, **self.kwargs))
        if self.checked is not None and number == self.checked[0]:
            _check_repeats(parts, self.checked[1])
        return KeptGraph(self.memory, 0, window, parts)

    def pack(self, outputs: Sequence[Tensor], inputs: Tensor) -> Any:
        """The stitched outputs in the network's own structure, typed as MONAI types them."""
        packed: Any = tuple(outputs) if len(outputs) > 1 else outputs[0]
        if self.keys is not None:
            packed = dict(zip(self.keys, outputs, strict=True))
        if isinstance(inputs, MetaTensor):
            meta = MetaTensor([]).copy_meta_from(inputs, copy_attr=False)
            packed = convert_to_dst_type(packed, meta, device=outputs[0].device)[0]
        return packed


class SlidingWindows(Windows):
    """The windows of a MONAI SlidingWindowInferer, made and stitched by MONAI itself.

    Args:
        inferer: whose call it is.
        network: maps a window to a tensor, a tuple or a dictionary of tensors.
        memory, args, kwargs, known, region: as for `Windows`.
    """

    def __init__(
        self,
        inferer: SlidingWindowInferer,
        memory: MemoryLimit,
        network: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        known: Sequence[Tensor],
        region: Tensor | None,
    ) -> None:
        self.inferer, self.network = inferer, network
        self.options = {k: v for k, v in kwargs.items() if k in ("device", "buffer_steps", "buffer_dim")}
        super().__init__(memory, args, {k: v for k, v in kwargs.items() if k not in self.options}, known, region)

    @torch.no_grad()
    def stitched(self, image: Tensor) -> tuple[Tensor, ...] | None:
        """MONAI's forward pass."""
        recording = with_coordinates(self.inferer)
        output = SlidingWindowInferer.__call__(
            recording, image, self._record, *self.args, **self.options, **self.kwargs
        )
        return tuple(flatten(output)) if self.supported else None

    def _apply(self, number: int, window: Tensor, coordinates: Any, *args: Any, **kwargs: Any) -> Any:
        with_coordinates = (coordinates,) if self.inferer.with_coord else ()
        return on_window(self.network, window, *with_coordinates, *args, **kwargs)

    def _device(self, image: Tensor) -> torch.device:
        return torch.device(self.inferer.sw_device or image.device)

    def _importance(self, image: Tensor, device: torch.device) -> Tensor:
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


def gathered(volume: Gathered, places: Sequence[Window]) -> Tensor:
    """These windows as one batch, a view where it is one window: as MONAI hands them to the network."""
    return volume[places[0]] if len(places) == 1 else torch.cat([volume[place] for place in places])


def _holds_anything(vector: Tensor) -> bool:
    """Whether a tensor is not all zero, in a tenth of the time of `any`; NaN counts as something."""
    return bool((vector.amax() != 0) | (vector.amin() != 0))


def _vector_jacobian(graph: KeptGraph, vectors: Sequence[Tensor | None]) -> Tensor:
    used = [(p, v.to(p)) for p, v in zip(graph.parts, vectors, strict=True) if v is not None and p.requires_grad]
    if not used:
        return torch.zeros_like(graph.window)
    (pulled,) = torch.autograd.grad([p for p, _ in used], graph.window, [v for _, v in used], allow_unused=True)
    return torch.zeros_like(graph.window) if pulled is None else pulled


def _check_repeats(parts: Sequence[Tensor], first: Sequence[Tensor]) -> None:
    for part, before in zip(parts, first, strict=True):
        if not (part.detach() - before).norm() <= 1e-2 * before.norm():  # kernels may round differently without a graph
            raise RuntimeError(
                "the network does not repeat its own output (randomness outside of nn.Dropout, or state that "
                "changes with every call): its sliding-window gradient would be wrong; make it deterministic."
            )


def with_coordinates(inferer: SlidingWindowInferer) -> SlidingWindowInferer:
    """The same that hands a window's place on beside it."""
    recording = object.__new__(SlidingWindowInferer)
    recording.__dict__.update(vars(inferer), with_coord=True)
    return recording


def flatten(output: Any) -> list[Tensor]:
    """The tensors of an output, dictionaries by sorted key as MONAI stitches them."""
    if isinstance(output, Tensor):
        return [output]
    return [output[key] for key in sorted(output)] if isinstance(output, dict) else list(output)


def on_window(network: Callable[..., Any], window: Tensor, *args: Any, **kwargs: Any) -> Any:
    """The network's output for a window, which may be a view of the image.

    The output is copied where it is the window itself: MONAI weighs outputs in place, which would change the image.

    Raises:
        ValueError: if the network writes into the window, and so into those beside it.
    """
    message = (
        "the network writes into its input (an operation in place, such as x -= 1) and would change the windows beside "
        "it; make it work on a copy: x = x - 1."
    )
    before = None if window.is_inference() else window._version
    try:
        output = network(window, *args, **kwargs)
    except RuntimeError as error:
        if "leaf Variable that requires grad is being used in an in-place operation" in str(error):
            raise ValueError(message) from error
        raise
    if before is not None and window._version != before:
        raise ValueError(message)
    return _mapped(lambda part: part.clone() if part.data_ptr() == window.data_ptr() else part, output)


def _mapped(change: Callable[[Tensor], Tensor], output: Any) -> Any:
    """The output with every tensor changed."""
    if isinstance(output, Tensor):
        return change(output)
    if isinstance(output, dict):
        return {key: change(value) for key, value in output.items()}
    return tuple(change(value) for value in output)


def _autocast_state() -> Callable[[torch.device], AbstractContextManager[Any]]:
    """The autocast setting of the forward pass, to be entered again in the backward pass."""
    states = {kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")}

    def enter(device: torch.device) -> AbstractContextManager[Any]:
        enabled, dtype = states.get(device.type, (False, None))
        return torch.autocast(device.type, dtype=dtype, enabled=enabled)

    return enter
