"""The brain segmentation networks of brainchop (MIT), which nobody here trained: MeshNets for T1 MRI at 1 mm.

``MONAI_SMIA_MODELS`` names the folder that holds ``brainchop/``; the files are read by safetensors (extra "bench").
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from measured import DATA, MODELS
from torch import nn

DILATIONS = (1, 2, 2, 4, 4, 8, 8, 16)  # of the network of 104 classes


def models() -> Path:
    """The folder of brainchop's networks.

    Raises:
        SystemExit: if it is not known.
    """
    if MODELS not in os.environ:
        raise SystemExit(f"{MODELS} must name the folder that holds brainchop/.")
    return Path(os.environ[MODELS], "brainchop")


def meshnet(name: str) -> nn.Sequential:
    """A network as published, such as ``"model5_gw_ae"``: MRI ``(B, 1, *spatial)`` in [0, 1] to logits."""
    from safetensors.torch import load_file  # not needed for networks drawn at random

    spec = json.loads((models() / f"{name}.json").read_text())
    activation = nn.ELU if spec.get("elu") else nn.GELU if spec.get("gelu") else nn.ReLU
    parts: list[nn.Module] = []
    for layer in spec["layers"]:
        options = {key: layer[key] for key in ("kernel_size", "padding", "stride", "dilation")}
        parts += [nn.Conv3d(layer["in_channels"], layer["out_channels"], bias=spec["bias"], **options), activation()]
    network = nn.Sequential(*parts[:-1])
    weights = load_file(models() / f"{name}.safetensors")
    network.load_state_dict({key.removeprefix("model."): value for key, value in weights.items()})
    return _still(network)


def drawn_meshnet(classes: int = 104, channels: int = 21) -> nn.Sequential:
    """One of the shape of brainchop's of 104 classes, with weights drawn at random."""
    parts: list[nn.Module] = []
    for number, dilation in enumerate(DILATIONS):
        parts.append(nn.Conv3d(channels if number else 1, channels, 3, padding=dilation, dilation=dilation))
        parts.append(nn.ReLU())
    return _still(nn.Sequential(*parts, nn.Conv3d(channels, classes, 1)))


def _still(network: nn.Sequential) -> nn.Sequential:
    """For inference; channels last takes a third of a CPU's time, and differs by rounding alone."""
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last_3d)


def scan_file() -> Path:
    """Brainchop's example volume."""
    return Path(os.environ[DATA], "mri", "t1_crop.nii.gz")


def scan(side: int) -> torch.Tensor:
    """The middle of brainchop's example volume, between its quantiles .02 and .98, ``(1, 1, side, side, side)``."""
    import nibabel as nib
    from monai.transforms import CenterSpatialCrop, ScaleIntensityRangePercentiles

    volume = torch.from_numpy(nib.load(scan_file()).get_fdata()).float()
    scaled = ScaleIntensityRangePercentiles(2, 98, 0, 1, clip=True)(volume[None])
    return torch.as_tensor(CenterSpatialCrop(side)(scaled)).as_subclass(torch.Tensor)[None].contiguous()
