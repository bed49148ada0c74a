"""Networks out of files as modules that return one tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class FileNetwork(nn.Module):
    """A network out of a file, of which one output counts.

    Args:
        network: maps ``(B, C, *spatial)`` to a tensor, or to several.
        output: which of several counts: the number of one of a tuple or list, or the key of one of a dictionary.
        single: give it one sample at a time, as a program that was exported for one wants it.
        file: its hash, which says all of the network.
    """

    def __init__(
        self, network: nn.Module, output: str | int | None = None, *, single: bool = False, file: str = ""
    ) -> None:
        super().__init__()
        self.network, self.chosen, self.single, self.file = network, output, single, file

    def train(self, mode: bool = True) -> FileNetwork:
        """Its own mode: the network is one that was finished, and keeps the mode that it was written in."""
        self.training = mode
        return self

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        return {"file": self.file, "output": self.chosen}

    def forward(self, image: Tensor) -> Tensor:
        """The output that counts.

        Raises:
            ValueError: if there are several and none was chosen, or the chosen one is none of them.
        """
        if self.single and len(image) > 1:
            return torch.cat([self._chosen(self.network(sample[None])) for sample in image])
        return self._chosen(self.network(image))

    def _chosen(self, output: Any) -> Tensor:
        if isinstance(output, (tuple, list)) and len(output) == 1 and self.chosen is None:
            output = output[0]
        if isinstance(output, Tensor):
            if self.chosen not in (None, 0, "0"):
                raise ValueError(f"output must be None or 0 of a network that returns one tensor, got {self.chosen!r}.")
            return output
        if isinstance(output, Mapping):
            parts = {str(name): part for name, part in output.items()}
        elif isinstance(output, (tuple, list)):
            parts = {str(number): part for number, part in enumerate(output)}
        else:
            raise ValueError(f"the network must return a tensor, or several, got {type(output).__name__}.")
        told = ", ".join(f"{name}: {_told(part)}" for name, part in parts.items())
        part = parts.get(str(self.chosen))
        if not isinstance(part, Tensor):
            raise ValueError(
                f"the network returns several outputs ({told}): output must name the tensor that counts, got "
                f"{self.chosen!r}."
            )
        return part


class OnnxNetwork(nn.Module):
    """An ONNX network, run by ONNX Runtime: it answers with scores and has no gradient.

    Args:
        path: of the file.
        device: ``"cpu"``, or a CUDA device where ONNX Runtime has that.

    Attributes:
        input: what the file says of its only input: name, shape (text where it is free) and type.

    Raises:
        ValueError: if ONNX Runtime is not installed, does not take the file, or the network takes more than an image.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError(
                f"{path.name} is an ONNX network, and onnxruntime is not installed: pip install 'monai_smia[onnx]'."
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors, which are raised
        provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
        if provider not in onnxruntime.get_available_providers():
            raise ValueError(f"device must be cpu for this onnxruntime, which has no {provider}, got {device}.")
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        except Exception as error:  # of onnxruntime's own kinds
            text = " ".join(str(error).split())
            raise ValueError(f"{path.name} is no ONNX network that onnxruntime takes: {text}") from error
        inputs = session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(each.name for each in inputs)
            raise ValueError(f"{path.name} must take an image alone, and takes {len(inputs)} inputs: {names}.")
        self.input = inputs[0]
        if self.input.type not in KINDS:
            raise ValueError(f"{path.name} must take floating-point images, and takes {self.input.type}.")
        self.session, self.names = session, [each.name for each in session.get_outputs()]
        digest = hashlib.sha256(path.read_bytes()).digest()  # its weights, to records and reports
        self.register_buffer("file", torch.frombuffer(bytearray(digest), dtype=torch.uint8))

    def forward(self, image: Tensor) -> Any:
        """The only output, or all of them by their names."""
        values = np.ascontiguousarray(image.detach().cpu().numpy().astype(KINDS[self.input.type]))
        found = self.session.run(None, {self.input.name: values})
        parts = [torch.as_tensor(part).to(image.device) for part in found]
        return parts[0] if len(parts) == 1 else dict(zip(self.names, parts, strict=True))


KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def _told(part: Any) -> str:
    return str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__
