"""Sampling grids that are computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_KNOWN: WeakValueDictionary[tuple[Any, ...], Tensor] = WeakValueDictionary()


class KnownGrids(TorchFunctionMode):
    """Inside, `torch.nn.functional.affine_grid` gives grids that live already: resampling takes half its time.

    The same grid, bit for bit, is found by its matrix and its size, for all that ask for it while one of them keeps it.

    Example:
        >>> import torch
        >>> theta, grids = torch.eye(2, 3)[None], KnownGrids()
        >>> with grids:
        ...     first, second = (torch.nn.functional.affine_grid(theta, [1, 1, 4, 4]) for _ in range(2))
        >>> first is second, len(grids.kept)
        (True, 1)
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[Any, ...], Tensor] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The function, or the grid that it would compute."""
        kwargs = kwargs or {}
        if func is not F.affine_grid:
            return func(*args, **kwargs)
        return self._grid(*args, **kwargs)

    def _grid(self, theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
        if type(theta) is not Tensor or theta.requires_grad:
            return F.affine_grid(theta, list(size), align_corners)
        key = (
            *theta.flatten().tolist(),
            theta.shape,
            theta.dtype,
            theta.device,
            *(int(n) for n in size),
            align_corners,
        )
        grid = _KNOWN.get(key)
        if grid is None:
            grid = F.affine_grid(theta, list(size), align_corners)
        self.kept[key] = _KNOWN[key] = grid
        return grid
