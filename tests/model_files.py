"""Networks in files for the tests: TorchScript, programs of torch.export, and ONNX written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Dark(nn.Module):
    """Segments what lies below a quarter of the window, a little disturbed by what is around it.

    Args:
        end: ``"softmax"``, ``"sigmoid"``, or how several outputs are returned: ``"tuple"``, ``"dict"``.
        channels: two, or one logit.
    """

    def __init__(self, end: str = "", channels: int = 2) -> None:
        super().__init__()
        self.convolution, self.end = nn.Conv3d(1, channels, 3, padding=1), end
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.convolution.weight.copy_(0.2 * torch.randn(channels, 1, 3, 3, 3, generator=generator))
            self.convolution.bias.zero_()
            for channel, sign in zip(range(channels), (1, -1) if channels == 2 else (-1,), strict=True):
                self.convolution.weight[channel, 0, 1, 1, 1] += sign * 40
                self.convolution.bias[channel] -= sign * 10.5

    def forward(self, image: Tensor) -> Any:
        logits = self.convolution(image)
        if self.end == "softmax":
            return torch.softmax(logits, 1)
        if self.end == "sigmoid":
            return torch.sigmoid(logits)
        if self.end == "tuple":
            return logits, logits[:, :1]
        return {"seg": logits, "aux": logits[:, :1]} if self.end == "dict" else logits


def script(network: nn.Module, path: Path, shape: Sequence[int] = (1, 1, 8, 8, 8)) -> Path:
    """As TorchScript."""
    torch.jit.save(torch.jit.trace(network.eval(), torch.rand(*shape), strict=False), path)
    return path


def program(network: nn.Module, path: Path, shape: Sequence[int] = (1, 1, 8, 8, 8)) -> Path:
    """As a program of torch.export, of this very shape."""
    torch.export.save(torch.export.export(network.eval(), (torch.rand(*shape),)), path)
    return path


def onnx(convolution: nn.Conv3d, path: Path, *, inputs: Sequence[str] = ("x",)) -> Path:
    """A convolution as ONNX, its shapes free; the format is that of protocol buffers."""
    weights = {"w": convolution.weight, "b": convolution.bias}
    attributes = [("kernel_shape", [3] * 3), ("pads", [1] * 6)]
    node = [
        *(_text(1, name) for name in ("x", *weights)),
        _text(2, "y"),
        _text(4, "Conv"),
        *(_part(5, [_text(1, n), *(_number(8, v) for v in values), _number(20, 7)]) for n, values in attributes),
    ]
    graph = [
        _part(1, node),
        _text(2, "graph"),
        *(_part(5, _tensor(name, value)) for name, value in weights.items()),
        *(_part(11, _value(name)) for name in inputs),
        _part(12, _value("y")),
    ]
    model = [_number(1, 8), _part(7, graph), _part(8, [_text(1, ""), _number(2, 17)])]
    path.write_bytes(b"".join(model))
    return path


def _tensor(name: str, value: Any) -> list[bytes]:
    raw = value.detach().numpy().astype(np.float32)
    return [*(_number(1, size) for size in raw.shape), _number(2, 1), _text(8, name), _bytes(9, raw.tobytes())]


def _value(name: str) -> list[bytes]:
    shape = [_part(1, [_text(2, f"{name}{axis}")]) for axis in range(5)]
    return [_text(1, name), _part(2, [_part(1, [_number(1, 1), _part(2, shape)])])]


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _part(field: int, parts: Iterable[bytes]) -> bytes:
    return _bytes(field, b"".join(parts))


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])
