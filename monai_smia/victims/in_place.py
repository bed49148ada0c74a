"""Networks that work in place: the caller's image is never theirs to write into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

_WRITES: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()  # whether a network was found to write into its input


@contextmanager
def protected(network: nn.Module, image: Tensor, *, windows: bool = False) -> Iterator[Tensor]:
    """The image as a network may be given it: a copy at the first call, and at all of a network that writes into it.

    Args:
        network: what is called inside.
        image: what it is to see ``(B, C, *spatial)``.
        windows: whether it is called on windows of the image, which overlap: there nothing may write.

    Raises:
        ValueError: if a network writes into windows, or writes into its input now and did not before.

    Example:
        >>> network, image = nn.ReLU(inplace=True), torch.tensor([[[-1.0, 2.0]]])
        >>> with protected(network, image) as seen:
        ...     network(seen).tolist(), image.tolist()
        ([[[0.0, 2.0]]], [[[-1.0, 2.0]]])
    """
    known = _WRITES.get(network)
    seen = image if known is False and not image.is_inference() else image.clone()
    before = _version(seen)
    yield seen
    wrote = _version(seen) != before
    if known is None:
        wrote = wrote or not torch.equal(seen, image)  # past autograd's own count, as `x.data -= 1` goes
        _WRITES[network] = wrote
    if wrote and (windows or seen is image):
        raise ValueError(
            f"the network, {type(network).__name__}, writes into its input (an operation in place, such as x -= 1 or "
            f"nn.ReLU(inplace=True) at its door){' and would change the windows beside it' if windows else ''}; "
            "make it work on a copy: x = x - 1."
        )


def _version(tensor: Tensor) -> int:
    """How often a tensor was written to; inference tensors do not count it, and are always copied."""
    return 0 if tensor.is_inference() else tensor._version
