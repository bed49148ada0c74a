"""Graphs of windows that are kept for the backward pass, within a memory limit."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class MemoryLimit:
    """Bytes that kept graphs may hold at any time, over all calls that share it.

    Args:
        limit: bytes, >= 0; infinity keeps everything.

    Example:
        >>> memory = MemoryLimit(100)
        >>> memory.fits(60), memory.fits(60)
        (True, True)
        >>> graph = KeptGraph(memory, 60, torch.zeros(1), [])
        >>> memory.fits(60)
        False
        >>> del graph
        >>> memory.fits(60)
        True
    """

    def __init__(self, limit: float = 0) -> None:
        if not limit >= 0:
            raise ValueError(f"memory_limit must be a number of bytes >= 0, got {limit}.")
        self.limit = limit
        self.held = 0.0

    def fits(self, size: float) -> bool:
        """Whether there is room for so many bytes more."""
        return self.held + size <= self.limit

    def __deepcopy__(self, memo: Any) -> MemoryLimit:
        return MemoryLimit(self.limit)


class KeptGraph:
    """The graph of one batch of windows, counted against a limit while it lives.

    Args:
        limit: what it counts against.
        size: bytes that it holds.
        window: the leaf that the graph starts from.
        parts: the outputs that it ends in.
    """

    def __init__(self, limit: MemoryLimit, size: float, window: Tensor, parts: Sequence[Tensor]) -> None:
        self.window, self.parts = window, parts
        limit.held += size
        weakref.finalize(self, _release, limit, size)


def _release(limit: MemoryLimit, size: float) -> None:
    limit.held -= size


class MeasuredGraph:
    """Counts the bytes that autograd saves inside of the block, beside what was there before.

    Args:
        known: tensors that take no memory of their own: parameters, buffers.

    Example:
        >>> x = torch.ones(10, requires_grad=True)
        >>> with MeasuredGraph([]) as graph:
        ...     y = (x * 2).tanh()
        >>> graph.size  # tanh saves its output
        40.0
    """

    def __init__(self, known: Sequence[Tensor]) -> None:
        self._seen = {tensor.untyped_storage().data_ptr() for tensor in known}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)
        self.size = 0.0

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.size += storage.nbytes()
        return tensor.detach()  # the tensor itself would be a reference cycle where an operation saves its output

    def __enter__(self) -> MeasuredGraph:
        self._hooks.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._hooks.__exit__(*exception)


def leaves(parts: Sequence[Tensor]) -> list[Tensor]:
    """The leaves that a graph leads to, other graphs' inputs included."""
    found, seen = [], set()
    nodes = [part.grad_fn for part in parts if part.grad_fn is not None]
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None:
            found.append(variable)
        nodes += [following for following, _ in node.next_functions if following is not None]
    return found
