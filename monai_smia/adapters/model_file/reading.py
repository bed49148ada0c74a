"""From a file to a network: what kind of file it is, and a sentence where it is none that can be run."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from monai_smia.adapters.model_file.network import FileNetwork, OnnxNetwork

SCRIPT, PROGRAM, ONNX = "TorchScript", "torch.export program", "ONNX"
WANTED = "a TorchScript file (torch.jit.save), a program of torch.export (torch.export.save, .pt2) or an ONNX network"
RAW = ("weight_", "tensor_")  # files of a program that hold a tensor's bytes
WEIGHTS = (
    "holds weights, or a pickled network, and nothing that says how to compute: pickles run what they hold and are not "
    f"opened. Give {WANTED}; a MONAI bundle is attacked by its configs, see the command overlay."
)


def load_network(
    path: str | Path, *, device: str | torch.device = "cpu", output: str | int | None = None, trusted: bool = False
) -> tuple[FileNetwork, str]:
    """A network out of a file.

    Args:
        path: TorchScript, a program of torch.export or ONNX.
        device: where it goes.
        output: which of several outputs counts, see `FileNetwork`.
        trusted: open a program though it holds pickled objects, which run what they hold.

    Returns:
        The network in eval mode (a program keeps the mode that it was exported in), and what kind of file it is.

    Raises:
        ValueError: if it is no such file; what it is instead is said where that is known.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "weights.pt"
        >>> torch.save(torch.nn.Conv3d(1, 2, 1).state_dict(), file)
        >>> load_network(file)
        Traceback (most recent call last):
        ValueError: weights.pt holds weights, or a pickled network, and nothing that says how to compute: ...
    """
    path, device = Path(path), torch.device(device)
    if not path.exists():
        raise ValueError(f"model {path} does not exist.")
    if not path.is_file() or not path.stat().st_size:
        raise ValueError(f"model {path.name} is {'a folder' if path.is_dir() else 'empty'}, and must be {WANTED}.")
    shared: dict[str, Any] = {"output": output, "file": hashlib.sha256(path.read_bytes()).hexdigest()}
    if path.suffix.lower() == ".onnx":
        return FileNetwork(OnnxNetwork(path, device), single=True, **shared), ONNX
    kind = _kind(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit, which this file is of
        network = _script(path, device) if kind == SCRIPT else _program(path, device, trusted=trusted)
    return FileNetwork(network, single=kind == PROGRAM, **shared), kind


def _kind(path: Path) -> str:
    """What a file is, by its contents."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            pickled = file.read(1) == b"\x80"
        raise ValueError(f"{path.name} {WEIGHTS}" if pickled else f"{path.name} is cut off or no model: give {WANTED}.")
    with zipfile.ZipFile(path) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
    if any(name.startswith("code/") for name in names) and "constants.pkl" in names:
        return SCRIPT
    if any(name.startswith("models/") and name.endswith(".json") for name in names):
        return PROGRAM
    older = "serialized_exported_program.json" in archive.namelist()
    if older:
        raise ValueError(f"{path.name} is a program of torch.export of an older PyTorch: export it anew.")
    raise ValueError(f"{path.name} {WEIGHTS}" if "data.pkl" in names else f"{path.name} is no model: give {WANTED}.")


def _script(path: Path, device: torch.device) -> Any:
    try:
        return torch.jit.load(path, map_location=device).eval()
    except Exception as error:  # of its reader or its compiler
        raise ValueError(f"{path.name} is TorchScript that cannot be loaded: {_reason(error)}") from error


def _program(path: Path, device: torch.device, *, trusted: bool) -> Any:
    if not trusted and (what := _pickled(path)):
        raise ValueError(
            f"{path.name} holds pickled objects ({what}), which run what they hold when it is opened: export it "
            "without them, or say that it is trusted."
        )
    logger = logging.getLogger("torch.export")
    before = logger.level
    logger.setLevel(logging.CRITICAL)  # it logs the trace of what it raises
    try:
        named: Any = path if path.suffix == ".pt2" else io.BytesIO(path.read_bytes())
        program = torch.export.load(named)
        if device.type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        return program.module()
    except Exception as error:  # of its reader
        raise ValueError(f"{path.name} is a program of torch.export that cannot be loaded: {_reason(error)}") from error
    finally:
        logger.setLevel(before)


def _pickled(path: Path) -> str:
    """What a program holds that is more than tensors, and would run when it is opened; empty where there is nothing."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            place = name.partition("/")[2]
            if place.startswith("data/aotinductor/"):
                return "compiled code"
            if place.startswith("data/") and name.endswith(".pt") and not _plain(archive.read(name)):
                return place
            if place.startswith(("data/weights/", "data/constants/")) and name.endswith("_config.json"):
                folder = name.rpartition("/")[0]
                for weight, said in json.loads(archive.read(name)).get("config", {}).items():
                    file = str(said.get("path_name", ""))
                    raw = file.startswith(RAW) and said.get("use_pickle") is False
                    if not raw and not (file.startswith(RAW) and _plain(archive.read(f"{folder}/{file}"))):
                        return weight
    return ""


def _plain(data: bytes) -> bool:
    """Whether a file of torch.save holds tensors and plain values alone."""
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except Exception:  # whatever else it is, it is not opened
        return False
    return True


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__
