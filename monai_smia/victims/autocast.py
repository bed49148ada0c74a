"""A network in lower precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class AutocastNetwork(nn.Module):
    """Runs a network under `torch.autocast` and hands its answer on in the precision of its input.

    Everything around it (preprocessing, the stitching of windows, losses) keeps full precision. Other attributes are
    the network's own. Images are handed over with their channels last in memory, which may be faster, depending on
    network, image and machine (`benchmarks/lower_precision.py`).

    Args:
        network: the network; its parameters are shared and not converted.
        dtype: ``torch.bfloat16`` or ``torch.float16``.
        channels_last: False for a network that takes `view` of its feature maps, which PyTorch then refuses.

    Example:
        >>> network = AutocastNetwork(nn.Conv2d(1, 1, 3), torch.bfloat16)
        >>> network(torch.rand(1, 1, 8, 8)).dtype, network.kernel_size
        (torch.float32, (3, 3))
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, *, channels_last: bool = True) -> None:
        super().__init__()
        self.training = network.training
        self.network = network
        self.dtype = dtype
        self.channels_last = channels_last

    def forward(self, image: Tensor, *args: Any, **kwargs: Any) -> Any:
        """The network's answer."""
        layout = CHANNELS_LAST.get(image.ndim) if self.channels_last else None
        if layout is not None:
            image = image.contiguous(memory_format=layout)
        with torch.autocast(image.device.type, self.dtype):
            output = self.network(image, *args, **kwargs)
        return _cast(output, image.dtype)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)


def _cast(output: Any, dtype: torch.dtype) -> Any:
    if isinstance(output, Tensor):
        return output.to(dtype) if output.is_floating_point() else output
    if isinstance(output, dict):
        return {key: _cast(value, dtype) for key, value in output.items()}
    if isinstance(output, (list, tuple)):
        parts = [_cast(value, dtype) for value in output]
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
    return output
